"""Each symbol of the book's equations stands once in book/notation.md, beside the place that uses it first."""

import json
import re

import yaml

from tests.conftest import ROOT

GREEK = """alpha beta gamma delta epsilon varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon
    phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell""".split()  # noqa: SIM905
SYMBOL = re.compile(r"(?:\\(hat|tilde|bar)\s*)?(\\[A-Za-z]+|[A-Za-z])(?:_(\{[^{}]*\}|\\[a-z]+|\w))?")


def symbols(formula):
    """The symbols of a formula in LaTeX: h_1, h_j and h_{\\ell-1} are all "h_i", an index after a comma is none."""
    formula = re.sub(r"\\class\{[\w-]+\}|\\(?:begin|end)\{\w+\}", "", formula)
    formula = re.sub(r"_\\text\{(\w+)\}", r"_{\1}", formula)
    formula = re.sub(r"\\text\{[^{}]*\}", "", formula)
    faces = {"operatorname": "", "mathbb": "bb", "mathcal": "cal"}
    formula = re.sub(r"\\(operatorname|mathbb|mathcal)\{(\w+)\}", lambda m: f"\\my{faces[m[1]]}{m[2]}", formula)
    found, at = set(), 0
    while match := SYMBOL.search(formula, at):
        accent, base, below = match.groups()
        name = base.removeprefix("\\")
        is_symbol = name == base or name in GREEK or name.startswith("my")
        if not is_symbol or name == "mybbE":  # what stands below a sum or an expectation are symbols themselves
            at, below = match.end(2), None
        else:
            at = match.end()
        if is_symbol:
            below = re.sub(r",[ij]$", "", (below or "").strip("{}"))
            below = "i" if re.fullmatch(r"(?:[ijm\d+-]|\\ell)+", below) else below
            found.add((f"{accent} " if accent else "") + name + (f"_{below}" if below else ""))
    return found


def formulas(text):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)
    return [a or b for a, b in re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", text, flags=re.S)]


def text_of(page):
    """What a page says in words and formulas: of a notebook, without its code, with its captions."""
    path = next(path for folder in ("book", "notebooks") for path in (ROOT / folder).glob(f"{page}.*"))
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    captions = [cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption", "") for cell in cells]
    return "\n\n".join(["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"] + captions)


def pages():
    """The text of each page with formulas of its own, in the book's order."""
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    names = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return {name: text_of(name) for name in names if name not in ("notation", "sites", "status")}


def test_the_tokenizer():
    assert symbols(r"\class{rapp-x-hat}{\hat h_{\ell-1}(x)} \in \mathbb{R}^{n}") == {"hat h_i", "x", "mybbR", "n"}
    assert symbols(r"\min_{w,\, \xi_i \ge 0} s_\text{NAP}") == {"w", "xi_i", "s_NAP"}
    assert symbols(r"\mathbb{E}_{z \sim \mathcal{N}(0, I)} \mu_{z,i}") == {"mybbE", "z", "mycalN", "I", "mu_z"}


def test_every_symbol_is_in_the_notation_beside_its_first_use():
    texts = pages()
    first = {}
    for page, text in texts.items():
        for symbol in set().union(*map(symbols, formulas(text))):
            first.setdefault(symbol, page)
    homes = {label: page for page, text in texts.items() for label in re.findall(r"\$\$ \((eq-[\w-]+)\)", text)}
    listed = []
    for line in (ROOT / "book" / "notation.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| $"):
            symbol, *_, link = line.strip("| ").split(" | ")
            page = re.search(r"\{eq\}`([\w-]+)`|\((\w+)\.\w+\)", link)
            listed += [(name, homes.get(page[1], page[2])) for part in formulas(symbol) for name in symbols(part)]
    assert sorted(name for name, _ in listed) == sorted({name for name, _ in listed}), "a symbol stands twice"
    assert dict(listed) == first  # notation.md, and the page that uses a symbol first
    order = list(texts)
    assert [page for _, page in listed] == sorted((page for _, page in listed), key=order.index)
