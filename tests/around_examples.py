"""What stands around the examples of the documents when they are run: imports, models, and what calls them."""

#: What every example finds, as the files of a project would have it.
AROUND = """
import asyncio, contextlib, multiprocessing, signal, sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from fastapi import APIRouter, BackgroundTasks, FastAPI, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
import httpx2
from pydantic import BaseModel
from app.lifecycle import deadline
from app.lifecycle.components import Component
from app.lifecycle.phase import Phase
from app.lifecycle.service import Service
from tests.apps.runner import run

router = APIRouter()
components: list[Component] = []
service: Service

def done(what: str) -> None:
    print("DONE", what, flush=True)

def prepare(made: Service) -> None:
    global service
    service = made
    more(made)

def more(service: Service) -> None:
    pass

{before}
{block}
{after}

if __name__ == "__main__":
    app = FastAPI()
    app.include_router(router)
    sys.exit(run(app, components, prepare))
"""

MODELS = """
class Job(BaseModel):
    id: int
class Accepted(BaseModel):
    id: int
class Report(BaseModel):
    lines: int
class Result(BaseModel):
    done: int
    more: bool
class Batch(BaseModel):
    first: int
class Rows(BaseModel):
    number: int
    def batches(self) -> Iterator[Batch]:
        return (Batch(first=i) for i in range(self.number))
class Order(BaseModel):
    id: int
class Receipt(BaseModel):
    id: int
class Stored(BaseModel):
    size: int
async def charge(order):
    await asyncio.sleep(1)
    done(f"charge {order.id}")
class Change(BaseModel):
    number: int
class Resume(BaseModel):
    after: int
class Question(BaseModel):
    text: str
class Token(BaseModel):
    text: str
Queue = asyncio.Queue
async def work(job):
    await asyncio.sleep(1)
    done("work")
async def reindex():
    await asyncio.sleep(1)
    done("reindex")
async def refresh(): pass
async def send_reminders(): pass
async def build():
    return Report(lines=1)
async def store(batch):
    await asyncio.sleep(0.1)
    done(f"store {batch.first}")
async def next_event():
    await asyncio.sleep(0.1)
    return "event"
async def next_change():
    await asyncio.sleep(0.1)
    return Change(number=1)
async def lines():
    await asyncio.sleep(60)
    yield "data: late"
def last_change():
    return 7
async def handle(message):
    done(f"handle {message}")
class model:
    @staticmethod
    async def answer(question):
        for i in range(30):
            await asyncio.sleep(0.1)
            yield Token(text=str(i))
"""
IN_HANDLER = "@router.get('/do')\nasync def do(request: Request) -> None:\n"
IN_CREATE_SERVICE = "def more(service: Service) -> None:\n"
CONSUME = """
queue: Queue
@router.get("/do")
async def do() -> None:
    global queue
    queue = Queue()
    service.tasks.spawn(consume(queue), name="consume")
@router.get("/put")
async def put() -> None:
    queue.put_nowait(1)
"""
#: Longer than any deadline.
BUILD = "async def build():\n    await asyncio.sleep(60)\n"
POOL = 'components.append(Component("processes", process_pool))'
CREATED = '# in create_service() of src/app/main.py: Component("processes", process_pool, level="application")'
#: A component whose value lends something.
HELD = """
import time
from collections.abc import Iterable
from app.lifecycle.stuck import Held
class Taken:
    name = "customers"
    since = time.monotonic()
    def stack(self):
        return ["customers.py:7 in query"]
"""
LENDER = "class Lender:\n    taken = [Taken()]\n"
LENDS = """
@contextlib.asynccontextmanager
async def lender():
    yield Lender()
components.append(Component("lender", lender))
"""
