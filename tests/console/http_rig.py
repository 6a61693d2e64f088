"""The console's application without a socket or a browser's rules: what any program on this machine could send."""

import asyncio
import re
from datetime import UTC, datetime

import httpx

from silo_node.agent.reading import Reading
from silo_node.config import load
from silo_node.console.desk import Desk
from silo_node.console.journal_check import JournalCheck
from silo_node.console.ledger_view import LedgerReading
from silo_node.console.sessions import Sessions
from silo_node.console.site import console_site
from silo_node.console.visit import Site

HOST = "localhost:8471"
HERE = {"host": HOST, "origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}


class Browser:
    """Speaks HTTP to the console's application, with whatever headers, cookies and fields it likes."""

    def __init__(self, node):
        silo = node.silo
        reading, ledger = Reading(silo.tasks, silo.identity.party), LedgerReading(silo.ledger)
        desk = Desk(silo, load(node.folder), node.folder, reading, ledger, JournalCheck(silo))
        self.now = datetime(2026, 11, 24, 12, tzinfo=UTC)
        self.sessions = Sessions(lambda: self.now)
        self.transport = httpx.ASGITransport(console_site(Site(desk, self.sessions, HOST)), raise_app_exceptions=False)
        self.cookie, self.place = "", "/nowhere"

    def ask(self, method, path, headers=None, **more):
        cookie = {"cookie": f"consortia-console={self.cookie}"} if self.cookie else {}

        async def once():
            async with httpx.AsyncClient(transport=self.transport, base_url=f"http://{HOST}") as http:
                return await http.request(method, path, headers={**HERE, **cookie, **(headers or {})}, **more)

        return asyncio.run(once())

    def enter(self, link=None):
        answer = self.ask("GET", f"/in/{link or self.sessions.new_link()}")
        if answer.status_code == 200:
            self.cookie = re.search(r"consortia-console=([\w-]+)", answer.headers["set-cookie"])[1]
            self.place = re.search(r'href="(/[\w-]{43})/"', answer.text)[1]
        return answer

    def get(self, path="/", **headers):
        return self.ask("GET", self.place + path, headers)

    def form(self, name, choice, room="requests"):
        """The fields of the form that the page of a study or job shows for a choice."""
        page = self.get(f"/{room}/{name}").text
        shown = next(one for one in page.split("<form")[1:] if f'name="choice" value="{choice}"' in one)
        return dict(re.findall(r'name="(\w+)" value="([^"]*)"', shown))

    def post(self, name, fields, room="requests", **headers):
        return self.ask("POST", f"{self.place}/{room}/{name}", headers, data=fields)
