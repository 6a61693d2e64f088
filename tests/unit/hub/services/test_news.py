"""Waking waiters: no ring is missed, quiet ones come together."""

import asyncio
import threading

from hub.services.news import News


def test_a_ring_between_looking_and_waiting_is_not_missed() -> None:
    async def scene() -> None:
        news = News()
        news.attach(asyncio.get_running_loop())
        ticket = news.ticket()
        threading.Thread(target=news.ring, args=(True,)).start()
        await asyncio.sleep(0.05)
        await asyncio.wait_for(news.wait(ticket, 60), 5)

    asyncio.run(scene())


def test_quiet_rings_wake_everybody_once_a_little_later() -> None:
    async def scene() -> int:
        news = News()
        news.attach(asyncio.get_running_loop())
        woken = 0

        async def waiter() -> None:
            nonlocal woken
            await news.wait(news.ticket(), 60)
            woken += 1

        waiters = [asyncio.create_task(waiter()) for _ in range(5)]
        await asyncio.sleep(0)
        for _ in range(10):
            news.ring(urgent=False)
        await asyncio.sleep(0.01)
        assert woken == 0
        await asyncio.wait_for(asyncio.gather(*waiters), 5)
        return woken

    assert asyncio.run(scene()) == 5


def test_waiting_ends_with_its_time_and_with_the_server() -> None:
    async def scene() -> None:
        news = News()
        news.attach(asyncio.get_running_loop())
        await news.wait(news.ticket(), 0.01)
        ticket = news.ticket()
        news.detach()
        await asyncio.wait_for(news.wait(ticket, 60), 5)
        news.ring(urgent=True)

    asyncio.run(scene())


def test_a_quiet_entry_is_urgent_only_where_it_is_a_turn() -> None:
    news = News()
    assert news.urgent(7, "sum-served")
    assert not news.urgent(7, "survivors-signed")
    news.turn(7)
    assert news.urgent(7, "survivors-signed")
    assert not news.urgent(8, "survivors-signed")
