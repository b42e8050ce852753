from __future__ import annotations

from stack.models.selection import select_files


def test_safetensors_win_over_every_other_form_of_the_same_weights():
    selection = select_files(
        [
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "tf_model.h5",
            "model.gguf",
            "onnx/model.onnx",
        ]
    )
    assert selection.chosen == ("config.json", "model.safetensors")
    assert selection.weights == ("model.safetensors",)


def test_folders_of_other_runtimes_and_dotfiles_are_left_out():
    names = [
        "original/model.safetensors",
        "onnx/config.json",
        ".gitattributes",
        ".cache/x.json",
        "config.json",
    ]
    assert select_files(names).chosen == ("config.json",)


def test_the_consolidated_copy_is_left_out_only_beside_the_standard_one():
    both = ["consolidated.safetensors", "model-00001-of-00001.safetensors"]
    assert select_files(both).weights == ("model-00001-of-00001.safetensors",)
    assert select_files(["consolidated.safetensors", "params.json"]).weights == ("consolidated.safetensors",)


def test_other_precisions_of_the_same_weights_are_left_out():
    assert select_files(["model.safetensors", "model.fp16.safetensors"]).weights == ("model.safetensors",)


def test_pooling_settings_and_remote_code_and_tokenizers_are_kept():
    names = ["1_Pooling/config.json", "modeling_x.py", "tokenizer.model", "chat_template.jinja", "merges.txt"]
    assert select_files(names).chosen == tuple(sorted(names))


def test_what_is_not_usable_is_named_for_the_error():
    selection = select_files(["pytorch_model.bin", "config.json", "README.md"])
    assert selection.weights == ()
    assert selection.other_weights == ("pytorch_model.bin",)
