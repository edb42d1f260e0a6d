from models.torchvision_ops import declare


def test_torchvision_can_be_imported_whatever_torch_it_was_built_for():
    declare()
    declare()
    from torchvision.transforms.v2 import functional

    assert functional.InterpolationMode.BICUBIC.value == "bicubic"
