"""What pages say is what the queries answer; every page says where its numbers are from, and every link leads somewhere."""

import csv
import json
import re
from html.parser import HTMLParser

import pyarrow.parquet as parquet
import pytest

from lake import Lake, connect
from queries.provenance import provenance
from queries.report.render import number, percent, signed
from queries.report.site import build
from queries.run import shipped


class Page(HTMLParser):
    """Links, images, ids and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.images, self.ids, self.words, self.hidden = [], [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("a", "link", "script", "img") and (found := given.get("href") or given.get("src")):
            self.links.append(found)
        if tag == "img":
            self.images.append(given)
        if "id" in given:
            self.ids.append(given["id"])
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def found(site):
    """Pages by path."""
    return {str(path.relative_to(site)): Page(path.read_text()) for path in site.rglob("*.html")}


def test_there_is_a_page_of_every_kind(found):
    assert {f"examples/test-{i}.html" for i in range(3)} <= found.keys()
    assert {f"examples/train-{i}.html" for i in range(14)} <= found.keys()
    assert {f"queries/{name}.html" for name in shipped()} <= found.keys()
    assert {"index.html", "search.html", "sql.html", "galleries/index.html", "galleries/class-1.html"} <= found.keys()


def test_every_link_leads_to_a_file_and_none_leaves_the_site(found, site):
    assert sum(len(page.links) for page in found.values()) > 500
    for path, page in found.items():
        for link in page.links:
            if link.startswith(("#", "data:,")):
                continue
            assert "://" not in link, (path, link)
            name, _, mark = link.partition("#")
            target = ((site / path).parent / name.partition("?")[0]).resolve()
            assert target.is_file(), (path, link)
            assert not mark or mark in found[str(target.relative_to(site.resolve()))].ids, (path, link)


def test_every_page_names_lake_study_and_where_it_has_weights_the_fit(found, pictured):
    known = provenance(connect(pictured.root), "toy")
    for path, page in found.items():
        assert known.revision in page.text, path
        assert f"fingerprint {known.fingerprints['toy']}" in page.text, path
        if path.startswith("examples/") or path in ("index.html", "queries/lds.html", "galleries/suspects.html"):
            assert "lasso-00004" in page.text, path


def test_ids_are_unique_and_images_say_what_they_are(found):
    for path, page in found.items():
        assert len(page.ids) == len(set(page.ids)), path
        for image in page.images:
            assert re.fullmatch(r"(test|training) image \d+, class \d+", image["alt"]), path
            assert image["class"] == "pixels"


def test_an_example_shows_its_weights_margins_and_removals(found, pictured, ask):
    page = found["examples/test-0.html"].text
    strongest = ask(pictured, "top_weights", study="toy", k=1)
    for row in strongest:
        if row["target_id"] == 0:
            assert f"{signed(row['weight'])} train {row['train_id']} class {row['label']}" in page
    (target, *_) = ask(pictured, "targets", split="test")
    assert f"mean margin (logits) {signed(target['mean_margin'])}" in page
    assert f"held-out models right {percent(target['accuracy'])}" in page
    wrong = sum(row["n_wrong"] for row in ask(pictured, "margin_histogram", target_id=0))
    assert f"24 models; {wrong} of them wrong" in page
    assert "+3.00 (+2.00) flips" in page  # from 2 to -1 without two images, 2 predicted
    assert "No removal was planned for this image" in found["examples/test-2.html"].text


def test_a_training_example_shows_suspicion_and_what_it_moves(found, pictured, ask):
    page = found["examples/train-5.html"].text
    memory = next(row for row in ask(pictured, "memorization") if row["train_id"] == 5)
    assert f"memorisation (logits) {signed(memory['memorization'])}" in page
    assert f"above: {memory['n_in']} models trained with it" in page
    reach = [row for row in ask(pictured, "reach") if row["train_id"] == 5]
    assert reach
    assert all(f"{signed(row['weight'])} test {row['target_id']}" in page for row in reach)


def test_the_overview_has_the_pooled_correlation_only_beside_its_baseline(found, pictured, ask):
    page = found["index.html"].text
    (best, *_) = ask(pictured, "lds", split="test")
    for name in ("lds_repeats", "ceiling", "pooled_spearman", "pooled_bias_only"):
        assert number(best[name]) in page
    for path, other in found.items():
        if "pooled" in other.text.lower() and not path.startswith("queries/"):
            assert re.search(r"bias.only", other.text), path


def test_pooled_correlations_stand_beside_the_one_within_targets_and_the_bias_only_one(found, pictured, ask):
    (row,) = [row for row in ask(pictured, "counterfactual") if row["method"] == "datamodel" and row["k"] is None]
    spearman, within, bias = (number(row[name]) for name in ("spearman", "spearman_within", "spearman_bias_only"))
    page = found["index.html"].text
    assert page.count(f"{within} within targets, {bias} by bias only") == 1
    assert f"pooled over all sizes {spearman}, within a target {within}" in page
    for path, other in found.items():
        if re.search("pooled|spearman|pearson", other.text, re.I) and "pca_interventions" not in path:
            assert re.search("within|lds repeats", other.text), path
            assert re.search("bias.only", other.text), path


def test_copies_and_clusters_are_shown_on_examples_and_in_galleries(found):
    assert "train 4 class 0 near copy, 0.10" in found["examples/test-1.html"].text
    assert "test 1 class 1 near copy, 0.10" in found["examples/train-4.html"].text
    assert "train 6 class 0 near copy, 0.20" in found["examples/train-7.html"].text
    assert "train 1 class 1 distance 1.00" in found["examples/test-0.html"].text
    leaks = found["galleries/leaks.html"]
    assert "train 4 and test 1" in leaks.text
    assert [image["alt"] for image in leaks.images] == ["training image 4, class 0", "test image 1, class 1"]
    assert "train 7 and train 6" in found["galleries/copies.html"].text
    assert (
        "Cluster 0: class 0, 100% of its 2 test images test 0 class 0 similarity 1.00" in found["galleries/clusters.html"].text
    )
    assert "Among all images: cluster 1" in found["examples/train-5.html"].text
    assert {"cluster-0", "cluster-1"} <= set(found["galleries/subpopulations.html"].ids)
    parts = found["galleries/components.html"]
    assert {"#component-0-high", "#component-0-low"} <= set(parts.links)
    components = parts.text
    assert "high end test 0 class 0 score +0.50" in components
    assert "train 13 class 1 loading +0.81" in components


def test_the_most_brittle_stand_first(found):
    assert "without 2 images, by datamodel; margin +2.00" in found["galleries/brittle.html"].text


def test_a_query_page_has_the_answer_the_sql_and_whole_downloads(found, pictured, site, ask):
    rows = ask(pictured, "top_weights", study="toy")
    assert parquet.read_table(site / "queries" / "top_weights.parquet").to_pylist() == rows
    with (site / "queries" / "top_weights.csv").open() as lines:
        assert [int(row["train_id"]) for row in csv.DictReader(lines)] == [row["train_id"] for row in rows]
    known, kept = (
        provenance(connect(pictured.root), "toy"),
        parquet.read_schema(site / "queries" / "top_weights.parquet").metadata,
    )
    assert kept[b"lake_revision"].decode() == known.revision
    assert json.loads(kept[b"fingerprints"]) == known.fingerprints
    page = (site / "queries" / "top_weights.html").read_text()
    assert f'download="top_weights-toy-{known.revision}.csv"' in page
    assert "row_number() over (partition by study_id, fit, target_id, weight &gt; 0" in page
    assert page.count("\n-- column") + page.count(">-- column") == len(shipped()["top_weights"].columns)


def test_no_file_of_the_site_knows_the_machine(site, pictured):
    place = str(pictured.root.parent).encode()
    assert [str(path) for path in site.rglob("*") if path.is_file() and place in path.read_bytes()] == []


def test_search_has_every_image(site):
    text = (site / "assets" / "examples.js").read_text()
    rows = json.loads(text.removeprefix("const EXAMPLES = ").rstrip().removesuffix(";"))
    assert len(rows) == 17
    assert ["train", 13, 1] in [row[:3] for row in rows]


def test_a_lake_of_little_gets_plain_lines_and_what_looks_like_a_tag_is_text(tmp_path, add, monkeypatch):
    monkeypatch.setattr("queries.report.engine.CACHE", tmp_path / "cache")
    lake, nasty = Lake(tmp_path / "lake"), "<script>alert(1)</script>"
    add(lake, "examples", [{"example_id": 0}])
    add(lake, "masks", [{"mask_id": 0, "mask": "1"}])
    add(lake, "fits", [{"target_id": 0, "estimator": nasty}])
    out = build(lake.root, tmp_path / "site", "toy", offline=True).out
    page = Page((out / "examples" / "train-0.html").read_text()).text
    assert "No datamodel of this image is in the lake." in page
    assert "no datamodel has predictions in this lake yet" in Page((out / "index.html").read_text()).text
    assert "&lt;script&gt;" in (out / "queries" / "fits.html").read_text()
    assert [path for path in out.rglob("*.html") if nasty in path.read_text()] == []
