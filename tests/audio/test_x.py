from .sounds import tone
def test_a(): assert len(tone())
