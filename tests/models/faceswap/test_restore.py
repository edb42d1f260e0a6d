import pytest

from models.errors import WeightsMissing
from models.faceswap.restore import chosen


class Nothing:
    def restore(self, patches, visibility):
        return patches


def test_a_restorer_is_used_when_there_is_one_unless_refused():
    restorer = Nothing()
    assert chosen(None, restorer) is restorer
    assert chosen(True, restorer) is restorer
    assert chosen(False, restorer) is None


def test_without_one_only_asking_for_it_is_an_error():
    assert chosen(None, None) is None
    assert chosen(False, None) is None
    with pytest.raises(WeightsMissing, match="none is installed"):
        chosen(True, None)
