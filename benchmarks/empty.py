"""The least that FastAPI can do: a route that does nothing. `uvicorn benchmarks.empty:app`."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def nothing() -> dict[str, str]:
    return {}
