from stack.images.layer_progress import LayerProgress

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def feed(progress, layer, status, current=None, total=None):
    detail = {} if current is None else {"current": current, "total": total}
    return progress.add({"id": layer * 12, "status": status, "progressDetail": detail})


def test_bytes_are_summed_over_the_layers_of_the_manifest():
    progress = LayerProgress({A: 100, B: 50})
    assert (progress.completed_bytes, progress.total_bytes) == (0, 150)
    feed(progress, "a", "Pulling fs layer")
    feed(progress, "a", "Downloading", 30, 100)
    feed(progress, "b", "Already exists")
    assert progress.completed_bytes == 80
    feed(progress, "a", "Downloading", 100, 100)
    feed(progress, "a", "Pull complete")
    assert (progress.completed_bytes, progress.total_bytes) == (150, 150)


def test_a_layer_never_counts_backwards():
    progress = LayerProgress({A: 100})
    feed(progress, "a", "Downloading", 90, 100)
    feed(progress, "a", "Downloading", 10, 100)
    assert progress.completed_bytes == 90
    feed(progress, "a", "Extracting", 5, 100)
    assert progress.completed_bytes == 100


def test_without_a_manifest_the_total_grows_with_the_layers_begun():
    progress = LayerProgress()
    assert progress.total_bytes is None
    feed(progress, "a", "Downloading", 1, 10)
    assert (progress.completed_bytes, progress.total_bytes) == (1, 10)
    feed(progress, "b", "Downloading", 2, 20)
    assert (progress.completed_bytes, progress.total_bytes) == (3, 30)


def test_reports_that_are_about_no_layer_are_not_counted():
    progress = LayerProgress({A: 100})
    assert not progress.add({"status": "Pulling from prom/prometheus", "id": "v3.15.0"})
    assert not progress.add({"status": "Digest: sha256:00"})
    assert not progress.add({})
    assert progress.completed_bytes == 0
