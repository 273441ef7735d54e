"""The pages of the site: which there are, under which path, and what each is given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.errors import IntegrityError
from pipeline.site import documents, figures
from pipeline.site.archive import Fund, Version
from pipeline.site.project import project_view
from pipeline.site.prose import prose
from pipeline.site.views import FundView, by_project, fund_view
from pipeline.stages.summary import told_changes

HERE = Path(__file__).parent
FIXED = {"method": "How the figures are made", "revisions": "Revisions and corrections", "accessibility": "Accessibility statement"}
REASONS = {
    "figures_wrong": "its figures were wrong",
    "disclosure_risk": "its figures could have told something about a single person",
    "legal_request": "the law required it",
    "published_in_error": "it was published in error",
}
"""Why a version was withdrawn. Source: pipeline/domain/events.py, RETRACTION_REASONS."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def render_site(funds: Sequence[Fund]) -> Mapping[str, bytes]:
    """Return every page, feed and document of the site by path; not the files of the versions, which stand in it as they are.

    Raises: IntegrityError when an id of the data could not stand in a path.
    """
    check_ids(funds)
    views = {fund.id: fund_view(fund, newest) for fund in funds if (newest := fund.newest)}
    environment = _environment()
    pages: dict[str, bytes] = {}
    for path, template, context in _pages(funds, views):
        root = "../" * path.count("/")
        text = environment.get_template(template).render(root=root, path=path, funds=funds, views=views, **context)
        pages[path] = text.encode()
    pages |= dict(documents.api_documents(funds))
    pages["feed.json"] = documents.feed_json(funds, *_feed_words(funds))
    pages["assets/site.css"] = (HERE / "assets" / "site.css").read_bytes()
    pages["assets/icon.svg"] = (HERE / "assets" / "icon.svg").read_bytes()
    return dict(sorted(pages.items()))


def check_ids(funds: Sequence[Fund]) -> None:
    """Raise IntegrityError unless every id can stand in a path. The register takes no other; what was published elsewhere might."""
    for fund in funds:
        ids = [fund.id, *(version.number for version in fund.versions), *(row["project_id"] for row in fund.tables.get("projects", ()))]
        if not all(_ID.fullmatch(item) for item in ids):
            raise IntegrityError("The published files hold the id of a fund, version or project that cannot stand in a path.")


def version_page(version: Version) -> str:
    """Return the path of a version's page."""
    return f"data/{version.fund_id}/v{version.number}/index.html"


def _pages(funds: Sequence[Fund], views: Mapping[str, FundView]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    items = documents.feed_items(funds)
    yield "index.html", "home.html", {"items": items[:10]}
    yield "feed.xml", "feed.xml", {"items": items, "summaries": _feed_words(funds)[1]}
    for name, title in FIXED.items():
        yield f"{name}/index.html", f"{name}.html", {"title": title}
    for fund in funds:
        yield f"data/{fund.id}/index.html", "dataset.html", {"fund": fund}
        for version in fund.versions:
            yield version_page(version), "version.html", {"fund": fund, "version": version}
        view = views.get(fund.id)
        yield f"funds/{fund.id}/index.html", "fund.html", {"fund": fund, "view": view}
        if view is None:
            continue
        yield f"funds/{fund.id}/compare/index.html", "compare.html", {"fund": fund, "view": view}
        tables = by_project(fund)
        for group in view.projects:
            project = project_view(fund, group, tables[group.id])
            yield f"funds/{fund.id}/projects/{group.id}/index.html", "project.html", {"fund": fund, "view": view, "project": project}


def _feed_words(funds: Sequence[Fund]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the page and the summary of each version, by the id of its package."""
    versions = [version for fund in funds for version in fund.versions]
    return {version.package.id: version_page(version) for version in versions}, {version.package.id: _summary(version) for version in versions}


def _summary(version: Version) -> str:
    if not version.is_standing:
        return f"Withdrawn, because {reason_words(version.reason)}."
    follows = f"It follows version {version.package.base_version}." if version.package.base_version else "It is the first version."
    breaking = " It may break programs that read the version before." if version.kind == "major" else ""
    changed = told_changes(version.changes)
    return f"Figures as of {figures.long_date(version.as_of)}. {follows}{breaking}{' ' if changed else ''}{changed}"


def reason_words(reason: str | None) -> str:
    """Return why a version was withdrawn, in words."""
    return REASONS.get(reason or "", "the publisher withdrew it")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    writers = (figures.count, figures.money, figures.price, figures.percent, figures.multiple)
    environment.filters |= {writer.__name__: writer for writer in writers}
    environment.filters |= {"long_date": figures.long_date, "quarter_name": figures.quarter_name, "file_size": figures.file_size, "prose": prose}
    environment.globals |= {
        "scale": figures.scale,
        "width": figures.width,
        "instant": documents.instant,
        "reason_words": reason_words,
        "version_page": version_page,
    }
    return environment
