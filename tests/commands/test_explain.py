import pytest

from earshot.commands.explain import explain
from earshot.errors import EarshotError

from .. import corpus


@pytest.fixture
def sound(tmp_path):
    return corpus.write(tmp_path / "hum.wav", corpus.sound("hum", seed=99))


def test_a_sound_is_explained_without_a_network(model, sound, tmp_path, capsys):
    explain(model, sound, output=tmp_path / "why", quiet=True)
    assert {path.name for path in (tmp_path / "why").iterdir()} == {
        "explain.html",
        "explanation.json",
        "salient.wav",
    }
    assert capsys.readouterr().out.startswith("hum ")


@pytest.mark.parametrize("kind", ["missing", "folder", "table", "no model", "class"])
def test_what_cannot_be_explained_is_one_line(kind, model, sound, tmp_path):
    table = tmp_path / "clips.csv"
    table.write_text("path,label\nhum.wav,hum\n")
    given = {
        "missing": (model, tmp_path / "no.wav", None),
        "folder": (model, tmp_path, None),
        "table": (model, table, None),
        "no model": (tmp_path, sound, None),
        "class": (model, sound, "moo"),
    }
    folder, file, class_name = given[kind]
    with pytest.raises(EarshotError) as error:
        explain(folder, file, output=tmp_path / "why", class_name=class_name, quiet=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "why").exists()
