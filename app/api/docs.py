"""`/docs` and `/`: the API's documentation from our own files, because it must work offline and under the CSP."""

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse

from app.api.static import ASK_FIRST, FRONTEND

router = APIRouter(include_in_schema=False)


@router.head("/docs", include_in_schema=False)
@router.get("/docs")
async def docs() -> FileResponse:
    return FileResponse(FRONTEND / "docs.html", headers={"Cache-Control": ASK_FIRST})


@router.head("/", include_in_schema=False)
@router.get("/")
async def home() -> RedirectResponse:
    return RedirectResponse("/ui/index.html")
