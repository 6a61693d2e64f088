"""The report: what is left out by a filter, what every figure is of, and the two forms it comes in."""

import builtins
import re
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from client.audit.report import as_pdf, render_report, write_report
from client.audit.selection import Kept, Selection
from client.audit.verify import verify_export
from client.errors import AuditFailed, UsageRefused
from protocol import membership_statements, study_statements
from protocol.canonical import digest
from protocol.signing import Signed, parse
from protocol.study import study_id
from protocol.tree import TreeHead, leaf_hash, verify_inclusion
from tests.unit.client.conftest import START, World, make_contract, run_study

DAY = date(2026, 11, 22)


def report(world: World, **selected: Any) -> str:
    kept = Kept(Selection(**selected))
    return render_report(verify_export(world.export(), world.founding, None, kept), kept, START)


def two_studies(world: World, days_between: int = 10) -> tuple[str, str]:
    """One study on the first day, another some days later."""
    first = run_study(world, make_contract(world, rounds=1))
    world.seconds += days_between * 86_400
    return first, run_study(world, make_contract(world, rounds=1, averaged_rounds=1, learning_rate=0.5))


def epsilons(page: str) -> list[tuple[str, str]]:
    """(spent, of what is shown) for each domain of the budget table."""
    table = page.split("By silo and privacy domain")[1].split("</table>")[0]
    rows = [re.findall(r'"number">([^<]*)</td>', row) for row in table.split("<tr>")[2:]]
    return [(row[0], row[-1]) for row in rows]


def test_a_period_shows_its_own_studies_and_charges_and_says_so(world: World) -> None:
    first, second = two_studies(world)
    page = report(world, until=DAY)
    assert first in page and second not in page
    assert "from the log&#39;s beginning to the end of 2026-11-22 (UTC)" in page and "1 shown, of 2 in the log" in page
    spent, shown = epsilons(page)[0]
    assert float(spent) > float(shown) > 0
    assert epsilons(page)[0][0] == epsilons(report(world))[0][1]


def test_the_first_and_the_last_day_of_a_period_are_within_it(world: World) -> None:
    first, second = two_studies(world)
    assert first in report(world, since=DAY, until=DAY)
    assert second in report(world, since=date(2026, 12, 2), until=date(2026, 12, 2))
    assert "No study has an entry in this selection" in report(world, since=date(2026, 11, 23), until=date(2026, 12, 1))


def test_a_study_is_named_by_the_beginning_of_its_id(world: World) -> None:
    first, second = two_studies(world)
    page = report(world, study=second[:8])
    assert second in page and first not in page
    for study in ("abc", first.upper(), "study"):
        with pytest.raises(UsageRefused, match="--study"):
            Selection(study=study)


def test_a_silos_report_leaves_out_the_entries_and_budgets_of_other_silos(world: World) -> None:
    two_studies(world)
    page = report(world, silo="cleveland")
    rows = page.split("Every exchange on record")[1].split("</table>")[0]
    assert "silo:cleveland" in rows and "<td>hub</td>" in rows and "silo:hungarian" not in rows
    assert len(epsilons(page)) == 1
    assert "without those of other silos than cleveland" in page
    assert "0 shown, of 2 in the log" in report(world, silo="stranger")


def test_every_exchange_is_listed_with_a_path_that_leads_to_the_root(world: World) -> None:
    study = run_study(world, make_contract(world))
    audited = verify_export(world.export(), world.founding)
    page = report(world)
    found = re.findall(
        r'class="number">(\d+)</td>(?:.|\n)*?<code>([0-9a-f]{64})</code>\n.*?<code>([0-9a-f ]*)</code>',
        (page.split("Entry by entry")[1]),
    )
    concerned = [index for index, (entry, _) in enumerate(world.leaves) if entry.study == study]
    assert [int(index) for index, _, _ in found] == concerned
    for index, named, path in found:
        entry, wire = world.leaves[int(index)]
        assert named == entry.digest == digest(wire)
        nodes = [bytes.fromhex(node) for node in path.split()]
        head = TreeHead(audited.size, audited.checkpoint.root_hash)
        verify_inclusion(leaf_hash(entry.leaf_bytes()), int(index), head, nodes)


def test_what_silos_said_no_to_is_shown_with_their_reason_whatever_the_period(world: World) -> None:
    contract = make_contract(world)
    study = run_study(world, contract)
    world.seconds += 86_400
    world.say(study_statements.StudyWithdrawn, "silo:cleveland", study=study, reason="<b>our board</b> said no")
    for page in (report(world), report(world, until=DAY)):
        assert "study-withdrawn" in page and "&lt;b&gt;our board&lt;/b&gt; said no" in page


def test_every_charter_is_shown_with_its_signer_and_what_it_changed(world: World) -> None:
    table = report(world, study="a" * 8).split("Every version, with whose signatures")[1].split("</table>")[0]
    assert table.count("<tr>") == 1 + len(world.charters)
    assert "founding charter" in table and "silo cleveland added" in table and "person grace added" in table
    assert table.count("<td>ada</td>") == len(world.charters)


def test_approvals_and_objections_are_counted_against_what_the_charter_asks(world: World) -> None:
    contract = make_contract(world)
    world.say(study_statements.StudyProposed, "person:grace", contract=contract)
    study = study_id(contract)
    world.say(study_statements.StudyApproved, "person:ada", study=study, assertion=None)
    assert "1 of 1 admins approve" in report(world) and "asks for 1: the study stands" in report(world)
    why = "the board changed its mind"
    world.say(study_statements.StudyObjected, "person:ada", study=study, assertion=None, reason=why)
    page = report(world)
    assert "person:ada objects: the board changed its mind" in page and "the study doesn&#39;t stand" in page
    assert page.count("study-objected") == 2  # among the decisions and among all exchanges


def test_witnesses_are_named_or_said_to_be_missing(world: World) -> None:
    assert "holds no checkpoint that witnesses cosigned" in report(world)
    world.cosign("cleveland", "hungarian")
    page = report(world)
    assert "2 of 4 witnesses" in page and "/silo/cleveland" in page and 'class="verdict bad"' in page


def test_a_report_that_would_list_too_much_asks_to_be_narrowed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study(world, make_contract(world))
    monkeypatch.setattr("client.audit.selection.MOST_ROWS", 20)
    with pytest.raises(UsageRefused, match="narrow it with --study"):
        report(world)


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UsageRefused, match="give the earlier day first"):
        Selection(since=date(2026, 2, 1), until=date(2026, 1, 1))


def saved(world: World, tmp_path: Path) -> Path:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(world.export()), encoding="utf-8")
    return log


def test_of_a_log_that_does_not_verify_no_report_is_written(world: World, tmp_path: Path) -> None:
    world.leaves.pop(2)
    for name in ("report.html", "report.pdf"):
        with pytest.raises(AuditFailed):
            write_report(saved(world, tmp_path), world.founding, tmp_path / name, Selection(), START)
        assert not (tmp_path / name).exists()


def test_a_report_is_html_or_pdf(world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageRefused, match=r"\.html or \.pdf"):
        write_report(saved(world, tmp_path), world.founding, tmp_path / "report.docx", Selection(), START)


def test_a_pdf_is_made_without_fetching_anything(world: World, tmp_path: Path) -> None:
    run_study(world, make_contract(world))
    to = tmp_path / "report.pdf"
    write_report(saved(world, tmp_path), world.founding, to, Selection(), START)
    assert to.read_bytes().startswith(b"%PDF-")
    asked: list[str] = []

    class Counting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Counting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = f'<link rel="stylesheet" href="http://127.0.0.1:{server.server_port}/a.css"><img src="{to.as_uri()}">'
        assert as_pdf(page + f'<img src="http://127.0.0.1:{server.server_port}/b.png">').startswith(b"%PDF-")
        server.shutdown()
    assert asked == []


@pytest.mark.parametrize("missing", [ImportError("no module"), OSError("cannot load library 'libpango-1.0-0'")])
def test_without_weasyprint_or_pango_the_remedy_is_named(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: Exception
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "weasyprint":
            raise missing
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageRefused, match=r"consortia\[pdf\].*libpango-1.0-0"):
        write_report(saved(world, tmp_path), world.founding, tmp_path / "report.pdf", Selection(), START)


def cap(world: World, picos: int | None, name: str = "*", scope: str = "recipient") -> Signed:
    fields = {"domain": "patients", "scope": scope, "name": name, "picos": picos, "ledger_head": "7" * 64}
    return world.say(membership_statements.CapDeclared, "silo:cleveland", **fields)


def test_a_cap_is_shown_beside_what_was_charged_and_one_that_was_broken_is_a_difference(world: World) -> None:
    contract = make_contract(world)
    cap(world, 10**15, contract.recipients[0])
    cap(world, 1)
    run_study(world, contract)
    page = report(world)
    caps = page.split("Caps that owners set")[1].split("</table>")[0]
    assert f"recipient {contract.recipients[0]}" in caps and "each recipient" in caps
    others = contract.recipients[1:]
    assert ("cleveland charged recipient" in page) == bool(others)
    world.seconds += 60
    cap(world, 1, contract.recipients[0])
    assert "charged recipient " + contract.recipients[0] not in report(world), "lowered after all was spent: no breach"
    second = make_contract(world, rounds=1, averaged_rounds=1, learning_rate=0.5)
    world.seconds += 60
    run_study(world, second)
    assert f"cleveland charged recipient {contract.recipients[0]} more in domain patients than the cap" in report(world)


def test_the_newest_cap_counts_and_an_old_one_that_is_recorded_again_does_not(world: World) -> None:
    first = cap(world, 1, scope="study")
    assert "Caps that owners set" in report(world)
    world.seconds += 60
    cap(world, None, scope="study")
    assert "Caps that owners set" not in report(world)
    world.record(first)
    assert "Caps that owners set" not in report(world)


def test_a_domain_beside_another_is_shown_with_its_owners_reason_or_without_one(world: World) -> None:
    registered = next(
        body
        for body in (parse(wire).body for _, wire in world.leaves if wire)
        if isinstance(body, membership_statements.DatasetRegistered) and body.issuer == "silo:cleveland"
    )
    fresh = ("type", "issuer", "issued_at", "nonce", "journal_head")
    fields = {name: getattr(registered, name) for name in type(registered).model_fields if name not in fresh}
    fields |= {"dataset": "clinic", "domain": "clinic"}
    world.say(membership_statements.DatasetRegistered, "silo:cleveland", **fields)
    assert "cleveland registered domain clinic beside patients without a word why" in report(world)
    word = {"domain": "clinic", "beside": ("patients",), "reason": "<i>the new clinic</i>", "ledger_head": "7" * 64}
    world.say(membership_statements.DomainDeclared, "silo:cleveland", **word)
    page = report(world)
    assert "without a word why" not in page
    assert "&lt;i&gt;the new clinic&lt;/i&gt;" in page
