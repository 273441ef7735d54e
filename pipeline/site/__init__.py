"""The public site: pages, feeds and a static API, rendered from published files alone.

Nothing here can publish what was not approved: this package is given a reader of the public store, reads what stands there, verifies every version
against its MANIFEST, and knows neither log nor restricted store (an import contract keeps it so). It makes no figure that a reader of the files could
not make, and none out of one that is hidden. The same public files give the same bytes.

Called by `outcomes site build`. It must not hold a verb, a clock or a network call.
"""

from pipeline.site.archive import PublicReader
from pipeline.site.output import SiteBuilt, build_site

__all__ = ["PublicReader", "SiteBuilt", "build_site"]
