"""Tables for a paper in LaTeX with booktabs, everything escaped; sentences stand as comments above the tables that they rest on."""

from __future__ import annotations

from bench.report.blocks import Block, Page, Runs, Table, Verdict

__all__ = ["escape_latex", "render_latex"]

_ESCAPES = str.maketrans(
    {sign: f"\\{sign}" for sign in "{}&%$#_"}
    | {
        "\\": r"\textbackslash{}",
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
        "✓": r"$\surd$",
        "✗": r"$\times$",
        "≈": r"$\approx$",
        "‡": r"$\ddagger$",
        "§": r"\S{}",
        "\n": " ",
    }
)
_HEAD = "% Needs \\usepackage{booktabs}, \\usepackage[T1]{fontenc} and, for wide tables, \\usepackage{graphicx}."


def escape_latex(text: str) -> str:
    """Return text that stays text in LaTeX, whatever it holds; square brackets are kept from being read as options."""
    escaped = text.translate(_ESCAPES)
    return f"{{}}{escaped}" if escaped.startswith("[") else escaped


def render_latex(page: Page) -> str:
    """Return every table of the page; what is not a table is a comment."""
    parts = [_HEAD, *([_table(page.front, page.title, "tab:front")] if page.front else [])]
    tables = 0
    for section in page.sections:
        parts.append(f"% {section.title}, {section.subtitle}")
        for block in section.blocks:
            tables += isinstance(block, Table)
            label = f"tab:{section.name}-{tables}"
            if not isinstance(block, Runs):
                parts.append(_table(block, section.title, label) if isinstance(block, Table) else _comment(block))
    parts += map(_comment, [*([page.claims] if page.claims else []), *page.back])
    return "\n\n".join([*parts, *(["% No scores yet."] if not (tables or page.front) else [])]) + "\n"


def _comment(block: Block) -> str:
    title = block.question if isinstance(block, Verdict) else block.title
    lines = [title, *("- " * bool(depth) + bold + text for depth, bold, text, _ in block.lines())]
    return "\n".join(f"% {' '.join(line.split())}" for line in lines if line)


def _table(block: Table, section: str, label: str) -> str:
    """Return a table as it is, its notes and legend in the caption."""
    header = [column.name for column in block.columns]
    rows = [[f"{cell.code} {cell}".strip() for cell in row] for row in block.rows]
    first, *lines = (" & ".join(map(escape_latex, line)) for line in (header, *rows))
    caption = " ".join([f"{section}: {block.title}.", *block.notes, *(f"{line}." for line in block.legend)])
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"  \centering",
            f"  \\caption{{{escape_latex(caption)}}}",
            f"  \\label{{{label}}}",
            r"  \resizebox{\linewidth}{!}{%",
            f"  \\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in block.columns)}}}",
            r"    \toprule",
            f"    {first} \\\\",
            r"    \midrule",
            *(f"    {line} \\\\" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
        ]
    )
