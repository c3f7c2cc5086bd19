"""One pipeline per configuration, one version per content."""

from __future__ import annotations

from pathlib import Path

from tests.pipeline.kubeflow.conftest import Mastery
from tests.pipeline.kubeflow.stand_in import RefusedError, StandIn


def test_the_first_submission_creates_the_pipeline(mastery: Mastery, cluster: StandIn) -> None:
    code, out, err = mastery("submit")
    [pipeline], [version] = cluster.pipelines.values(), cluster.versions.values()
    assert (code, err) == (0, "")
    assert pipeline.name == pipeline.display_name == "algebra"
    assert version.pipeline_id == pipeline.pipeline_id
    assert version.name.startswith("algebra-")
    assert out == f"Uploaded version {version.name} of pipeline algebra.\n"


def test_an_unchanged_pipeline_is_not_uploaded_again(mastery: Mastery, cluster: StandIn) -> None:
    mastery("submit")
    cluster.asked.clear()
    code, out, _ = mastery("submit")
    [version] = cluster.versions.values()
    assert code == 0
    assert out == f"Unchanged: version {version.name} of pipeline algebra is there already.\n"
    assert "upload_pipeline_version" not in cluster.asked


def test_a_changed_pipeline_is_a_second_version(
    mastery: Mastery, cluster: StandIn, compiled: Path
) -> None:
    mastery("submit")
    compiled.write_text(compiled.read_text().replace("mastery:1", "mastery:2"))
    code, out, _ = mastery("submit")
    first, second = cluster.versions.values()
    assert code == 0
    assert len(cluster.pipelines) == 1
    assert first.name != second.name
    assert second.name in out


def test_a_pipeline_that_differs_in_capitals_is_another(mastery: Mastery, cluster: StandIn) -> None:
    mastery("submit")
    [pipeline] = cluster.pipelines.values()
    pipeline.display_name = "Algebra"
    assert mastery("submit")[0] == 0
    assert [item.display_name for item in cluster.pipelines.values()] == ["Algebra", "algebra"]


def test_a_concurrent_upload_of_the_same_content_is_no_error(
    mastery: Mastery, cluster: StandIn
) -> None:
    mastery("submit")
    [version] = cluster.versions.values()
    listed = cluster.pipeline_service_list_pipeline_versions
    hidden = [type(listed("pipeline-1"))(pipeline_versions=[])]
    cluster.pipeline_service_list_pipeline_versions = (  # type: ignore[method-assign]
        lambda *place, **query: hidden.pop() if hidden else listed(*place, **query)
    )
    code, out, _ = mastery("submit")
    assert code == 0
    assert out == f"Unchanged: version {version.name} of pipeline algebra is there already.\n"


def test_the_error_about_a_refused_file_has_the_server_s_words(
    mastery: Mastery, cluster: StandIn
) -> None:
    cluster.refuse = lambda name: (
        RefusedError(400, "Unknown template format") if "upload" in name else None
    )
    code, _, err = mastery("submit")
    assert code == 2
    assert "refused the request (400: Unknown template format)" in err


def test_compiling_prints_the_file_and_its_size(mastery: Mastery, tmp_path: Path) -> None:
    target = tmp_path / "out.yaml"
    code, out, _ = mastery("compile", "-o", str(target), "--target", "vertex")
    assert (code, out) == (0, f"Wrote {target} ({target.stat().st_size:,} bytes).\n")
    assert "vertex.example.org" in target.read_text()
