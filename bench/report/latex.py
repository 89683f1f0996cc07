"""Tables for a paper in LaTeX with booktabs, everything escaped; sentences stand as comments above the tables that they rest on."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report.blocks import Block, Commands, Figure, Page, Table, TextBlock, Verdict

__all__ = ["escape_latex", "render_latex"]

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "κ": r"$\kappa$",
    "−": "$-$",
    "×": r"$\times$",
    "≠": r"$\neq$",
    "‖": r"$\|$",
    "²": r"\textsuperscript{2}",
    "†": r"$\dagger$",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "-hat",
    "\N{NO-BREAK SPACE}": " ",
    "—": "---",
    "–": "--",
    "…": r"\dots{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\rightarrow$",
    "∞": r"$\infty$",
    "±": r"$\pm$",
    "√": r"$\surd$",
    "\n": " ",
}
_HEAD = "% Needs \\usepackage{booktabs}, \\usepackage[T1]{fontenc} and, for wide tables, \\usepackage{graphicx}."


def escape_latex(text: str) -> str:
    """Return text that stays text in LaTeX, whatever it holds; square brackets are kept from being read as options."""
    escaped = "".join(_ESCAPES.get(sign, sign) for sign in text)
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped


def render_latex(page: Page) -> str:
    """Return every table of the page; what is not a table is a comment."""
    parts = [_HEAD, *([_comment(page.claims.question, page.claims)] if page.claims else [])]
    tables = 0
    for section in page.sections:
        parts += [_comment(f"{section.title}, {section.subtitle}. {each.question}", each) for each in section.verdicts]
        for block in section.blocks:
            if isinstance(block, Table):
                tables += 1
                parts.append(
                    _table(block, f"tab:{section.name}-{tables}", f"{section.title}: " if section.verdicts else "")
                )
            else:
                parts.append(_comment(block.title, block))
    if not tables:
        parts.append("% No scores yet.")
    return "\n\n".join([*parts, *(_comment(block.title, block) for block in page.back)]) + "\n"


def _comment(title: str, block: Block) -> str:
    return "\n".join(f"% {' '.join(line.split())}" for line in (title, *_lines(block)) if line)


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Verdict):
        yield from (f"- {bold}{text}" for _, bold, text, _ in block.lines())
        yield block.note
    elif isinstance(block, TextBlock):
        yield from (*block.paragraphs, *(f"- {item}" for item in block.items))
    elif isinstance(block, Commands):
        yield from (*block.lines, block.note)
    elif isinstance(block, Figure):
        yield f"Figure, in the HTML and Markdown forms: {block.text}."


def _table(block: Table, label: str, where: str) -> str:
    """Return a table as it is, its notes and legend in the caption."""
    header, *lines = (
        " & ".join(map(escape_latex, line))
        for line in (
            [column.name for column in block.columns],
            *([f"{cell.code} {cell}".strip() for cell in row] for row in block.rows),
        )
    )
    columns = "".join("r" if column.numeric else "l" for column in block.columns)
    caption = " ".join([f"{where}{block.title}.", *block.notes, *(f"{line}." for line in block.legend)])
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"  \centering",
            f"  \\caption{{{escape_latex(caption)}}}",
            f"  \\label{{{label}}}",
            r"  \resizebox{\linewidth}{!}{%",
            f"  \\begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            f"    {header} \\\\",
            r"    \midrule",
            *(f"    {line} \\\\" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
        ]
    )
