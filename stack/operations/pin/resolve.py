"""From what is to be pinned to one image with its digest and its identity, asking one source after the other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from stack.config.lock import LockedImage
from stack.errors import ImageError
from stack.images.fit import read_engine_facts
from stack.images.identity import Accept, Identity, Origin, build_identity, check_identity
from stack.images.manifests import ImageConfig, parse_image_config
from stack.images.pull import MovedTagError
from stack.images.reference import ImageReference, apply_mirror, parse_reference
from stack.images.references import PublishedImage
from stack.images.registry_errors import MissingImageError, UnreachableRegistryError
from stack.images.sources import (
    ImageSource,
    Place,
    SourceTable,
    Variant,
    build_places,
    list_repositories,
)
from stack.operations.images.wanted import find_commit_release
from stack.operations.offline import OfflineError
from stack.operations.pin.found import LOCAL, NAMED, RELEASE, WHEEL, Outcome, PinnedImage, PinWorld, Step
from stack.operations.pin.target import PinTarget


class PinResolver:
    """Resolves one target.

    Args:
        table: The sources.
        variant: Which of several images of one commit is meant.
        published: The shipped table of images.
        mirror: `images.mirror`.
        accept: What proves a commit that was asked for.
        world: Who can be asked.
        locked: What stack.lock has of this engine, or None.
    """

    def __init__(
        self,
        table: SourceTable,
        variant: Variant,
        published: Mapping[str, PublishedImage],
        mirror: Mapping[str, str],
        accept: Accept,
        world: PinWorld,
        locked: LockedImage | None = None,
    ) -> None:
        self._table, self._variant, self._published = table, variant, published
        self._mirror, self._accept, self._world, self._locked = mirror, accept, world, locked
        served = locked if locked is not None and locked.recorded_from == "upstream" else None
        self._served = (served.digest, served.tag) if served is not None else (None, None)
        self._silent: set[str] = set()
        self.steps: list[Step] = []

    def resolve(self, target: PinTarget) -> PinnedImage:
        """Find the image.

        Raises:
            ImageError: Nobody has it, or what there is is not what was asked for.
        """
        target = self._complete(target)
        found = self._look_here(target) if target.commit or target.digest else None
        if found is None:
            places = self._list_places(target)
            found = next((image for image in map(self._ask, places) if image is not None), None)
            # As for `up`: a release is built where no registry answers, not where one says that it has none.
            is_silent = {apply_mirror(place.reference, self._mirror).registry for place in places} <= self._silent
            if found is None and (target.kind == "commit" or target.kind == "version" and is_silent):
                found = self._build(target)
        if found is None:
            raise self._build_error(target)
        self._check(target, found)
        return self._name_exactly(found) if target.kind == "moving" else found

    def _complete(self, target: PinTarget) -> PinTarget:
        if target.kind == "commit" and target.version is None:
            return replace(target, version=find_commit_release(str(target.commit), self._published))
        return target

    def _look_here(self, target: PinTarget) -> PinnedImage | None:
        repositories = {name.name for name in list_repositories(self._table, self._variant, self._mirror)}
        said = "no image of it is here"
        for document in self._world.find_local(target):
            config = parse_image_config(document.get("Config") or {})
            names = [parse_reference(name) for name in document.get("RepoDigests") or []]
            name = next((name for name in names if name.name in repositories), None)
            if name is None or (target.digest and name.digest != target.digest):
                said = "an image here says so, but it has no digest of a repository that is known"
                continue
            if target.commit and not self._is_variant(name, config, document.get("RepoTags") or [], target):
                said = "an image of it is here, but nothing tells whether it is of this variant"
                continue
            identity = build_identity(config, Origin("registry", name, name.digest, *self._served), self._releases())
            if target.commit and check_identity(identity, target.commit, self._accept) is not None:
                said = f"an image here says so, but that is only {identity.level}"
                continue
            self._note(LOCAL, name, "found", f"{name.digest}")
            return PinnedImage(LOCAL, self._recall(name), name.digest, identity, config)
        self._note(LOCAL, None, "missing", said)
        return None

    def _recall(self, name: ImageReference) -> ImageReference:
        """Give the locked name of what is here, which has the tag too."""
        if self._locked is not None and self._locked.digest == name.digest:
            locked = parse_reference(self._locked.reference)
            if name.name in (locked.name, apply_mirror(locked, self._mirror).name):
                return locked
        return name.with_digest(None)

    def _is_variant(self, name: ImageReference, config: ImageConfig, tags: list[str], target: PinTarget) -> bool:
        """Tell whether an image here is of the wanted variant: variants of a commit share a repository."""
        variant, locked = self._variant, self._locked
        if variant.device == "cpu":
            return True
        if locked is not None and (locked.digest, locked.variant) == (name.digest, variant.cuda):
            return True
        cuda = read_engine_facts(config, None).cuda
        if variant.cuda and cuda and variant.cuda == f"cu{cuda[0]}{cuda[1]}":
            return True
        places = build_places(self._table, variant, commit=target.commit, version=target.version)
        wanted = {apply_mirror(place.reference, self._mirror) for place in places}
        return not wanted.isdisjoint(parse_reference(tag) for tag in tags)

    def _list_places(self, target: PinTarget) -> list[Place]:
        if target.reference is not None:
            return [Place(NAMED, target.reference)]
        if target.digest is not None:
            names = list_repositories(self._table, self._variant, {})
            return [Place(NAMED, name.with_digest(target.digest)) for name in names]
        commit = target.commit if target.kind == "commit" else None
        return build_places(self._table, self._variant, commit=commit, version=target.version)

    def _ask(self, place: Place) -> PinnedImage | None:
        asked = apply_mirror(place.reference, self._mirror)
        if asked.registry in self._silent:
            self._note(place.source, place.reference, "skipped", f"not asked: {asked.registry} does not answer")
            return None
        try:
            image = self._world.fetch_image(asked)
        except MissingImageError:
            self._note(
                place.source, place.reference, "missing", "it has no such tag" if asked.tag else "it is not there"
            )
            return None
        except OfflineError as err:
            self._note(place.source, place.reference, "skipped", err.message)
            return None
        except ImageError as err:
            if isinstance(err, UnreachableRegistryError):
                self._silent.add(asked.registry)
            self._note(place.source, place.reference, "failed", err.message)
            return None
        self._note(place.source, place.reference, "found", image.digest)
        self._compare(place.reference, asked, image.digest)
        identity = build_identity(
            image.config, Origin("registry", asked, image.digest, *self._served), self._releases()
        )
        name = place.reference.with_digest(None)
        return PinnedImage(place.source, name, image.digest, identity, image.config, image.size_bytes, asked)

    def _compare(self, reference: ImageReference, asked: ImageReference, digest: str) -> None:
        for entry in self._published.values():
            is_same = (entry.reference.name, entry.tag) == (reference.name, reference.tag)
            if is_same and entry.digest and entry.digest != digest:
                raise MovedTagError(reference, asked.registry, entry.digest, digest)

    def _build(self, target: PinTarget) -> PinnedImage | None:
        source = WHEEL if target.kind == "commit" else RELEASE
        try:
            recipe = self._world.find_recipe(target)
        except ImageError as err:
            outcome: Outcome = "skipped" if isinstance(err, OfflineError) else "failed"
            self._note(source, None, outcome, err.message)
            return None
        if target.kind == "commit" and self._accept != "claimed":
            self._note(source, None, "skipped", "what is built here is only claimed: `--accept claimed` takes it")
            return None
        built = dict(recipe.arguments)
        version, commit = built.get("VERSION"), built.get("COMMIT") or None
        self._note(source, None, "found", f"vLLM {version}; the next `stack up` builds it")
        rests_on = f"the {'commit whose wheel' if target.kind == 'commit' else 'release that'} is built on this machine"
        identity = Identity(commit, "claimed" if commit else "unknown", version, rests_on)
        return PinnedImage(source, parse_reference(recipe.tag), None, identity)

    def _check(self, target: PinTarget, found: PinnedImage) -> None:
        identity = found.identity
        wanted = target.commit
        # A release is asked for by its tag: another commit behind it stops, a mere claim does not.
        accept: Accept = self._accept if target.kind == "commit" else "claimed"
        problem = check_identity(identity, wanted, accept)
        if problem is not None and (target.kind == "commit" or identity.commit is not None):
            raise problem
        says = re.match(r"\d+\.\d+\.\d+", identity.version or "")
        if target.kind == "version" and says and not str(target.version).startswith(says[0]):
            raise ImageError(
                f"release {target.version} was asked for, but the image of {found.reference} is {identity.version}",
                hint="do not use this registry or mirror until whoever runs it has explained that",
            )
        cuda = read_engine_facts(found.config, None).cuda
        if self._variant.cuda and cuda and self._variant.cuda != f"cu{cuda[0]}{cuda[1]}":
            if not re.fullmatch(r"cu\d+", self._variant.cuda):
                return
            raise ImageError(
                f"the variant `{self._variant.cuda}` was asked for, but {found.reference} has CUDA {cuda[0]}.{cuda[1]}",
                hint="put `{cuda}` into the reference of your source in `images.sources`, or leave out `--cuda`",
            )

    def _name_exactly(self, found: PinnedImage) -> PinnedImage:
        """Find the tag that stays, of what a tag that moves points at now."""
        version = found.identity.version
        places = build_places(
            self._table, self._variant, commit=found.identity.commit,
            version=version if version and re.fullmatch(r"\d+\.\d+\.\d+", version) else None,
        )  # fmt: skip
        for place in places:
            if place.reference.name != found.reference.name:
                continue
            try:
                digest = self._world.fetch_digest(apply_mirror(place.reference, self._mirror))
            except ImageError as err:
                self._note(place.source, place.reference, "failed", err.message)
                continue
            if digest == found.digest:
                self._note(place.source, place.reference, "found", "the same image under a tag that stays")
                return replace(found, source=place.source, reference=place.reference)
        return found

    def _build_error(self, target: PinTarget) -> ImageError:
        lines = "\n".join(f"- {step}" for step in self.steps)
        hint = "name a place that has it in `images.sources`, or a mirror in `images.mirror`"
        if target.kind == "commit":
            hint += "; upstream has images of releases and nightlies only, and deletes nightly tags after two weeks"
        if any(step.outcome == "failed" for step in self.steps):
            hint += "\nwhere a registry could not be asked, check the network and `docker login`"
        return ImageError(f"no image of `{target.text}` was found for {self._variant.device}:\n{lines}", hint=hint)

    def _releases(self) -> list[PublishedImage]:
        return [entry for name, entry in self._published.items() if name.startswith("engine.")]

    def _note(self, source: ImageSource, reference: ImageReference | None, outcome: Outcome, said: str) -> None:
        step = Step(source.name, source.title, str(reference) if reference else None, outcome, said)
        self.steps.append(step)
        self._world.tell(step)
