"""What a stranger's program leaves in a folder can be removed, and nothing else is touched."""

import stat

from chalicelib.local.fleet.folders import remove


def test_locked_folders_are_removed_and_what_a_link_leads_to_is_left_alone(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "kept").touch()
    inside = tmp_path / "scratch" / "deep" / "deeper"
    inside.mkdir(parents=True)
    (tmp_path / "scratch" / "link").symlink_to(outside)
    for folder in (inside, inside.parent, inside.parent.parent):
        folder.chmod(0)
    remove(tmp_path / "scratch")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept", "outside"]
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755


def test_removing_what_is_not_there_is_done_already(tmp_path):
    remove(tmp_path / "none")
