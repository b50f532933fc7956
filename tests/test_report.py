"""A page holds what it was given, whatever that is, and fetches nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from acclimate.report import Code, Figures, Number, Plot, Table, Text, bars, curve, page, palette

HOSTILE = "<script>alert('x')</script> & \"quoted\" $\\frac{1}$ $title --> ]]> </style> {0} #2b6cd4"
VOID = {"meta", "br", "hr", "img", "link"}


class Reader(HTMLParser):
    """Reads a page strictly: every tag closed in turn; keeps tags, texts and the table's cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.cells: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute twice in {tag}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))
        if self.open and {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data

    def said(self, *tags: str) -> str:
        return "\n".join(text for tag, text in self.texts if not tags or tag in tags)


def figure() -> Any:
    from matplotlib.figure import Figure

    drawn = Figure()
    drawn.add_subplot().plot([1, 2], label=HOSTILE)
    drawn.axes[0].legend().get_texts()[0].set_parse_math(False)
    return drawn


SERIES = {"frozen": [0.9, 0.3, 0.3, 0.9], "tent": [0.9, 0.6, 0.8, 0.9]}
SECTIONS: dict[str, list[Any]] = {
    "text": [Text(f"{HOSTILE}\n\nsecond", heading=HOSTILE)],
    "figures": [Figures([Number(HOSTILE, HOSTILE, HOSTILE), Number("1", "one")])],
    "table": [Table([{"method": HOSTILE, HOSTILE: HOSTILE}], baseline=HOSTILE, caption=HOSTILE)],
    "code": [Code(HOSTILE, HOSTILE)],
    "curve": [curve({HOSTILE: [0.1], "b": [0.2]}, [(HOSTILE, 0, 1)], what=HOSTILE, time=HOSTILE, caption=HOSTILE)],
    "bars": [bars({HOSTILE: {HOSTILE: 0.5, "b": 0.2}}, what=HOSTILE, caption=HOSTILE)],
    "a figure of one's own": [Plot(figure(), caption=HOSTILE, alt=HOSTILE)],
    "all": [curve(SERIES), curve(SERIES, [("a", 0, 2), ("b", 2, 4)]), bars({"tent": 0.5}), Text("x"), Code("y")],
    "nothing": [],
}  # fmt: skip


@pytest.mark.parametrize("sections", SECTIONS.values(), ids=SECTIONS)
def test_a_page_is_whole_and_fetches_nothing(sections: list[Any]) -> None:
    text = page(HOSTILE, sections)
    reader = Reader(text)
    assert {tag for tag, _ in reader.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "base", "image"})
    identifiers = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))
    for _, attrs in reader.tags:
        for name, value in attrs.items():
            assert not name.startswith("on") and name not in ("src", "srcset", "action")
            if name == "href":
                assert (value or "").startswith("#") and (value or "")[1:] in identifiers
            if name not in ("aria-label", "content"):
                assert "http" not in (value or "") and "//" not in (value or "")
            for target in re.findall(r"url\(#([^)]*)\)", value or ""):
                assert target in identifiers
    styles = reader.said("style")
    assert "http" not in styles and "@import" not in styles and "url(" not in styles


@pytest.mark.parametrize("sections", SECTIONS.values(), ids=SECTIONS)
def test_hostile_strings_stand_as_they_are(sections: list[Any]) -> None:
    reader = Reader(page(HOSTILE, sections))
    assert reader.said("title") == reader.said("h1") == HOSTILE
    tags = {Text: ["h2", "p"], Figures: ["dt", "dd"], Table: ["th", "td", "figcaption"], Code: ["code", "figcaption"]}
    for section in sections:
        if HOSTILE not in repr(section).replace("\\\\", "\\"):
            continue
        for tag in tags.get(type(section), ["figcaption", "text"] if section.names else ["figcaption"]):
            assert HOSTILE in reader.said(tag), tag


def test_a_page_is_the_same_when_it_is_written_again() -> None:
    assert page("a", SECTIONS["all"]) == page("a", SECTIONS["all"])


ROWS = [
    {"method": "frozen", "accuracy": 0.5, "seconds": 9, "note": None},
    {"method": "tent", "accuracy": 0.75, "seconds": 1234, "bytes": 2_300_000},
    {"method": "lame", "accuracy": 0.75, "seconds": 9, "bytes": float("nan")},
]


def test_a_table_has_every_cell_it_was_given() -> None:
    table = Table(ROWS, best={"accuracy": "max"}, baseline="frozen", formats={"accuracy": ".1%", "bytes": "bytes"})
    cells = Reader(page("t", [table])).cells
    assert cells == [
        ["method", "accuracy", "seconds", "note", "bytes"],
        ["frozenunadapted", "50.0 %", "9", "–", "–"],
        ["tent", "75.0 %", "1,234", "–", "2.3 MB"],
        ["lame", "75.0 %", "9", "–", "nan TB"],
    ]


def marked(table: Table, kind: str) -> list[str]:
    cells = re.findall(rf'<t[dr] class="[^"]*\b{kind}\b[^"]*">(.*?)</t[dr]>', page("t", [table]))
    return [re.sub("<[^>]*>", "", cell) for cell in cells]


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        ({"accuracy": "max"}, ["0.75", "0.75"]),
        ({"accuracy": "min"}, ["0.5"]),
        ({"seconds": "min"}, ["9", "9"]),
        ({"bytes": "min"}, ["2,300,000"]),
        ({}, []),
    ],
)
def test_the_best_cells_are_marked_the_unadapted_among_them(best: Any, expected: list[str]) -> None:
    assert marked(Table(ROWS, best=best), "best") == expected


def test_the_unadapted_row_is_marked() -> None:
    (row,) = marked(Table(ROWS, baseline="frozen"), "base")
    assert row.startswith("frozen")
    assert marked(Table(ROWS), "base") == []


def test_a_method_has_one_colour_on_the_whole_page_and_the_unadapted_is_grey() -> None:
    names = ["tent", "lame", "cotta"]
    sections = [
        bars(dict.fromkeys(names, 0.5)),
        curve({name: [0.5] for name in [*reversed(names), "unadapted"]}),
        Table([{"method": name, "x": 1} for name in [*names, "unadapted"]]),
    ]
    text = page("t", sections)
    found: dict[str, set[str]] = {}
    for colour, said in re.findall(r'fill: var\(--c(\w+)\)"[^>]*>([^<]*)</text>', text):
        name = said.split()[-1]
        if name in (*names, "unadapted") and (said == name or "%" in said):
            found.setdefault(name, set()).add(colour)
    for colour, name in re.findall(r'class="dot" style="background:var\(--c(\w+)\)"></span>(\w+)', text):
        found[name].add(colour)
    expected = palette([*names, "unadapted"])
    assert found == {name: {colour[1:]} for name, colour in expected.items()}
    assert len(set(expected.values())) == 4
    assert expected["unadapted"] == palette(["frozen"])["frozen"]


def test_every_colour_of_a_plot_has_a_value_on_light_and_on_dark_screens() -> None:
    text = page("t", SECTIONS["all"])
    light, dark = text.split("prefers-color-scheme:dark")
    for colour in set(re.findall(r"var\(--(c\w+)\)", text)):
        assert f"--{colour}:" in light and f"--{colour}:" in dark.partition("</style>")[0]
    assert not re.search(r'style="[^"]*#[0-9a-f]{6}', text)


def test_a_plot_says_in_words_what_it_shows_on_screens_and_phones() -> None:
    plot = curve(SERIES, [("clean", 0, 1), ("noise", 1, 4)])
    drawn = [attrs for tag, attrs in Reader(page("t", [plot])).tags if tag == "svg"]
    assert [attrs["aria-label"] for attrs in drawn] == [plot.alt, plot.alt]
    assert "clean, noise" in plot.alt and "frozen 60.0 %" in plot.alt and "tent 80.0 %" in plot.alt
    widths = [float((attrs["viewbox"] or "").split()[2]) for attrs in drawn]
    assert widths[1] < 0.6 * widths[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: curve({}),
        lambda: curve({"a": []}),
        lambda: curve({"a": [0.1], "b": [0.1, 0.2]}),
        lambda: curve({"a": [1.5]}),
        lambda: curve({"a": [float("nan")]}),
        lambda: curve({"a": [0.1]}, [("late", 0, 2)]),
        lambda: curve({"a": [0.1]}, window=0),
        lambda: bars({}),
        lambda: bars({"group": {}}),
        lambda: bars({"a": 50.0}),
        lambda: Table(ROWS, best={"acuracy": "max"}),
        lambda: Table(ROWS, formats={"acuracy": ".1%"}),
        lambda: Table(ROWS, baseline="unadapted"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(make: Any) -> None:
    with pytest.raises(ValueError) as error:
        make()
    assert "\n" not in str(error.value)


def test_a_page_is_made_of_sections() -> None:
    with pytest.raises(TypeError, match="str"):
        page("t", ["text"])  # type: ignore[list-item]


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    page("t", SECTIONS["all"])
    assert dict(matplotlib.rcParams) == before
