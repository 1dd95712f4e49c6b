"""The files of the user interface: their versions, what browsers may keep, compression, and what is not there."""

import gzip
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from app.api import errors
from app.api.boundary import Boundary
from app.api.static import FrontendFiles
from tests.conftest import browser
from tests.streams import open_stream

pytestmark = pytest.mark.anyio

FOR_EVER = "public, max-age=31536000, immutable"
ENGLISH_PAGE = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": "en"}
PAGE = """\
<!doctype html>
<link rel="icon" href="icons.svg">
<link rel="stylesheet" href="./css/base.css">
<link rel="modulepreload" href="./js/lib/html.js">
<link rel="preload" href="./vendor/font@1/font.woff2" as="font">
<script src="/ui/js/boot.js"></script>
<svg><use href="./icons.svg#play"/></svg>
<a href="./jobs.html?status=PENDING">jobs</a> <a href="/docs">docs</a> <a href="https://example.com/icons.svg">x</a>
<img src="./css/missing.css"> <a href="#css/base.css">here</a> <a href="../app/main.py">no</a>
"""
FILES = {
    "index.html": PAGE,
    "jobs.html": "<!doctype html><title>کارها</title>",
    "admin/users.html": '<!doctype html><link rel="stylesheet" href="../css/base.css"><script src="./css/base.css">',
    "css/base.css": "body { color: red }\n" * 200,
    "css/small.css": "a { color: red }\n",
    "js/boot.js": "document.documentElement.lang = 'fa';\n" * 100,
    "js/lib/html.js": "export const html = 1;\n",
    "locales/fa.json": '{"title": "کارها"}\n',
    "icons.svg": "<svg xmlns='http://www.w3.org/2000/svg'></svg>\n" * 50,
    "vendor/font@1/font.woff2": "w" * 4000,
    "vendor/font@1/LICENSE": "free\n",
    ".secret": "not for others",
    ".git/config": "not for others",
}


class Folder:
    """A frontend folder of a test, whose files change when the test says so."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._edits = 0
        for path, content in FILES.items():
            self.write(path, content)

    def write(self, path: str, content: str) -> None:
        """With a time of its own, however quickly one edit follows another."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        self._edits += 1
        os.utime(file, (1_700_000_000, 1_700_000_000 + self._edits))

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def link(self, path: str, target: Path) -> None:
        (self.root / path).symlink_to(target)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def service(folder: Folder) -> FastAPI:
    return service_of(folder)


def service_of(folder: Folder) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.mount("/ui", FrontendFiles(folder.root))
    errors.install(app)
    app.add_middleware(Boundary)
    return app


@pytest.fixture
async def reader(service: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with browser(service) as client:
        yield client


async def version_in(reader: httpx2.AsyncClient, page: str = "/ui/index.html") -> str:
    """The one version that a page names its assets under."""
    [version] = set(re.findall(r'"/ui/(~[0-9a-f]{12})/', (await reader.get(page)).text))
    return str(version)


async def test_a_page_names_every_asset_that_exists_under_its_version_and_nothing_else(
    reader: httpx2.AsyncClient,
) -> None:
    version = await version_in(reader)
    page = PAGE
    for written, path in (
        ('"icons.svg"', "icons.svg"),
        ('"./css/base.css"', "css/base.css"),
        ('"./js/lib/html.js"', "js/lib/html.js"),
        ('"./vendor/font@1/font.woff2"', "vendor/font@1/font.woff2"),
        ('"/ui/js/boot.js"', "js/boot.js"),
    ):
        page = page.replace(written, f'"/ui/{version}/{path}"')
    page = page.replace('"./icons.svg#play"', f'"/ui/{version}/icons.svg#play"')
    assert (await reader.get("/ui/index.html")).text == page


async def test_a_page_in_a_folder_names_its_assets_from_there(reader: httpx2.AsyncClient) -> None:
    version = await version_in(reader, "/ui/admin/users.html")
    text = (await reader.get("/ui/admin/users.html")).text
    assert f'href="/ui/{version}/css/base.css"' in text
    assert 'src="./css/base.css"' in text


async def test_what_has_a_version_is_kept_for_ever_and_pages_never(reader: httpx2.AsyncClient) -> None:
    version = await version_in(reader)
    for path in ("css/base.css", "js/lib/html.js", "locales/fa.json", "icons.svg", "vendor/font@1/font.woff2"):
        versioned, plain = await reader.get(f"/ui/{version}/{path}"), await reader.get(f"/ui/{path}")
        assert versioned.headers["cache-control"] == FOR_EVER, path
        assert plain.headers["cache-control"] == (FOR_EVER if path.startswith("vendor/") else "no-cache"), path
        assert versioned.text == plain.text == FILES[path]
    for page in ("index.html", "admin/users.html"):
        assert (await reader.get(f"/ui/{page}")).headers["cache-control"] == "no-cache"


async def test_an_edited_asset_gets_a_new_address_and_the_old_one_shows_it_without_being_kept(
    reader: httpx2.AsyncClient, folder: Folder
) -> None:
    old = await version_in(reader)
    folder.write("css/base.css", "body { color: blue }\n")
    assert (await reader.get("/ui/css/base.css")).text == "body { color: blue }\n"
    new = await version_in(reader)
    assert new != old
    for version, caching in ((old, "no-cache"), (new, FOR_EVER)):
        answer = await reader.get(f"/ui/{version}/css/base.css")
        assert (answer.text, answer.headers["cache-control"]) == ("body { color: blue }\n", caching)


async def test_a_version_made_elsewhere_is_recognised_at_its_first_asset(
    reader: httpx2.AsyncClient, folder: Folder
) -> None:
    """Another worker has answered with the page."""
    folder.write("css/base.css", "body { color: blue }\n")
    async with browser(service_of(folder)) as other_worker:
        version = await version_in(other_worker)
    assert (await reader.get(f"/ui/{version}/css/base.css")).headers["cache-control"] == FOR_EVER


async def test_files_that_come_and_go_are_noticed(reader: httpx2.AsyncClient, folder: Folder) -> None:
    version = await version_in(reader)
    folder.write("js/pages/new.js", "export {};\n")
    assert (await reader.get("/ui/js/pages/new.js")).text == "export {};\n"
    assert await version_in(reader) != version
    folder.remove("js/pages/new.js")
    assert (await reader.get("/ui/js/pages/new.js")).status_code == 404
    assert await version_in(reader) == version


async def test_an_edited_page_leaves_the_version_as_it_is(reader: httpx2.AsyncClient, folder: Folder) -> None:
    version = await version_in(reader)
    folder.write("jobs.html", "<!doctype html><title>Jobs</title>")
    assert (await reader.get("/ui/jobs.html")).text == "<!doctype html><title>Jobs</title>"
    assert await version_in(reader) == version


async def test_a_file_that_cannot_be_read_is_as_if_it_were_not_there(
    reader: httpx2.AsyncClient, folder: Folder
) -> None:
    folder.link("css/gone.css", folder.root / "nowhere")
    assert (await reader.get("/ui/css/gone.css")).status_code == 404
    assert (await reader.get("/ui/index.html")).status_code == 200


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("index.html", "text/html; charset=utf-8"),
        ("css/base.css", "text/css; charset=utf-8"),
        ("js/boot.js", "text/javascript; charset=utf-8"),
        ("locales/fa.json", "application/json"),
        ("icons.svg", "image/svg+xml"),
        ("vendor/font@1/font.woff2", "font/woff2"),
        ("vendor/font@1/LICENSE", "text/plain; charset=utf-8"),
    ],
)
async def test_every_kind_of_file_is_called_what_it_is(reader: httpx2.AsyncClient, path: str, media_type: str) -> None:
    assert (await reader.get(f"/ui/{path}")).headers["content-type"] == media_type


@pytest.mark.parametrize(
    ("path", "is_compressed"),
    [
        ("css/base.css", True),
        ("js/boot.js", True),
        ("icons.svg", True),
        ("index.html", True),
        ("css/small.css", False),
        ("vendor/font@1/font.woff2", False),
    ],
)
async def test_long_text_is_compressed_and_caches_are_told(
    service: FastAPI, folder: Folder, path: str, is_compressed: bool
) -> None:
    folder.write("index.html", PAGE * 3)
    plain = (await fetch(service, path, ""))[1]
    headers, body = await fetch(service, path, "br, gzip;q=0.8")
    assert headers["content-length"] == str(len(body))
    if is_compressed:
        assert (headers["content-encoding"], headers["vary"]) == ("gzip", "Accept-Encoding")
        assert gzip.decompress(body) == plain
        assert len(body) < len(plain)
    else:
        assert not {"content-encoding", "vary"} & headers.keys()
        assert body == plain


async def fetch(service: FastAPI, path: str, accept_encoding: str) -> tuple[dict[str, str], bytes]:
    """As it travels: an HTTP client would unpack it."""
    async with open_stream(service, f"/ui/{path}", accept_encoding=accept_encoding) as stream:
        return stream.headers, await stream.read_to_end()


@pytest.mark.parametrize(
    ("accept_encoding", "is_compressed"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("deflate, gzip ; q=0.5", True),
        ("*", True),
        ("br", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("", False),
    ],
)
async def test_only_who_accepts_gzip_gets_it(service: FastAPI, accept_encoding: str, is_compressed: bool) -> None:
    headers, _ = await fetch(service, "css/base.css", accept_encoding)
    assert ("content-encoding" in headers) is is_compressed
    assert headers["vary"] == "Accept-Encoding"


async def test_an_unchanged_file_is_not_sent_again_in_either_encoding(reader: httpx2.AsyncClient) -> None:
    tags = set()
    for encoding in ("gzip", "identity"):
        headers = {"Accept-Encoding": encoding}
        first = await reader.get("/ui/css/base.css", headers=headers)
        tags.add(first.headers["etag"])
        for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
            again = await reader.get("/ui/css/base.css", headers=headers | {"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
            for header in ("etag", "cache-control", "vary"):
                assert again.headers[header] == first.headers[header]
    assert len(tags) == 2
    [other] = tags - {first.headers["etag"]}
    mixed = await reader.get("/ui/css/base.css", headers=headers | {"If-None-Match": other})
    assert mixed.status_code == 200


async def test_a_page_changes_its_tag_with_its_assets(reader: httpx2.AsyncClient, folder: Folder) -> None:
    known = {"If-None-Match": (await reader.get("/ui/index.html")).headers["etag"]}
    assert (await reader.get("/ui/index.html", headers=known)).status_code == 304
    folder.write("js/boot.js", "1;\n")
    assert (await reader.get("/ui/index.html", headers=known)).status_code == 200


async def test_the_head_of_a_file_has_its_length_and_no_body(reader: httpx2.AsyncClient) -> None:
    for encoding in ("gzip", "identity"):
        headers = {"Accept-Encoding": encoding}
        whole, head = [await reader.request(method, "/ui/css/base.css", headers=headers) for method in ("GET", "HEAD")]
        assert head.content == b""
        assert head.status_code == 200
        for header in ("content-length", "content-type", "etag", "cache-control", "vary"):
            assert head.headers[header] == whole.headers[header]


@pytest.mark.parametrize("path", ["/ui", "/ui/"])
async def test_the_folder_itself_leads_to_the_start_page(reader: httpx2.AsyncClient, path: str) -> None:
    answer = await reader.get(path, follow_redirects=True)
    assert (answer.url.path, answer.status_code) == ("/ui/index.html", 200)


async def test_a_page_under_a_version_leads_to_the_page(reader: httpx2.AsyncClient) -> None:
    answer = await reader.get(f"/ui/{await version_in(reader)}/admin/users.html?q=%D8%B3")
    assert (answer.status_code, answer.headers["location"]) == (307, "/ui/admin/users.html?q=%D8%B3")


@pytest.mark.parametrize(
    "path",
    [
        "/ui/nothing.js",
        "/ui/css",
        "/ui/css/",
        "/ui/admin/",
        "/ui//index.html",
        "/ui/%2e/index.html",
        "/ui/css/%2e%2e/index.html",
        "/ui/../app/main.py",
        "/ui/%2e%2e/app/main.py",
        "/ui/..%2fpyproject.toml",
        "/ui/~000000000000/../../app/main.py",
        "/ui/~000000000000/..%2f..%2fapp/main.py",
        "/ui/~000000000000",
        "/ui/~000000000000/nothing.css",
        "/ui/.secret",
        "/ui/.git/config",
        "/ui/%00",
        "/ui/index.html%00.css",
    ],
)
async def test_nothing_else_is_there(reader: httpx2.AsyncClient, path: str) -> None:
    answer = await reader.get(path)
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_people_who_are_lost_get_a_page_and_programs_a_problem(
    reader: httpx2.AsyncClient, folder: Folder
) -> None:
    assert (await reader.get("/ui/x/y.html", headers=ENGLISH_PAGE)).json()["code"] == "route-not-found"
    folder.write("404.html", '<!doctype html><link rel="stylesheet" href="./css/base.css">')
    answer = await reader.get("/ui/x/y.html", headers=ENGLISH_PAGE)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"
    assert re.search(r'href="/ui/~[0-9a-f]{12}/css/base\.css"', answer.text)
    again = await reader.get("/ui/x/y.html", headers=ENGLISH_PAGE | {"If-None-Match": "*"})
    assert again.status_code == 404
    assert (await reader.get("/ui/x/y.js", headers={"Accept": "*/*"})).json()["code"] == "route-not-found"


async def test_files_cannot_be_written(reader: httpx2.AsyncClient) -> None:
    answer = await reader.put("/ui/index.html", content=b"x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_pages_need_nothing_from_elsewhere_and_nothing_inline_and_their_links_lead_somewhere(
    client: httpx2.AsyncClient,
) -> None:
    pages = ["/docs", *(f"/ui/{path}" for path in real_pages())]
    assert "/ui/index.html" in pages
    for page in pages:
        html = (await client.get(page)).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", html), page
        for tag, address in re.findall(r'<(\w+)[^>]*\s(?:src|href)="([^"#?]+)', html):
            if tag == "a" and address.startswith("https:"):
                continue
            answer = await client.get(str(httpx2.URL(f"http://service.test{page}").join(address)))
            assert answer.status_code == 200, f"{address} in {page}"


def real_pages() -> list[str]:
    frontend = Path(__file__).parents[2] / "frontend"
    return sorted(str(path.relative_to(frontend)) for path in frontend.rglob("*.html"))
