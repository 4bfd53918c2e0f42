"""A cheese stage for pizzamill on Kafka. See README.md."""

import argparse
import hashlib
import json
import os
import re
import signal
import sys
import time
import uuid

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

MENU = ["halloumi", "manchego", "taleggio", "pecorino", "feta", "emmental"]
PIZZA_ID = re.compile(r"[A-Za-z0-9-]{1,64}-[1-9][0-9]{0,8}")

# Numbers pass through as they are written, also those that Python would round
# (1e400, 1.0000000000000000001): each is read as a string with a mark before it
# that nobody else can know, and written without its quotes.
MARK = uuid.uuid4().hex


def refuse(constant):
    raise ValueError(f"{constant} is not JSON")


def add_cheese(body):
    """Returns the pizza's ID and its new body; ValueError if there is no pizza in it."""
    try:
        pizza = json.loads(body.decode(), parse_int=MARK.__add__, parse_float=MARK.__add__, parse_constant=refuse)
        pizza_id = pizza["id"]
        if MARK in pizza_id or not PIZZA_ID.fullmatch(pizza_id):
            raise ValueError("the ID is not that of a pizza")
    except (AttributeError, KeyError, TypeError, RecursionError) as e:
        raise ValueError(f"not a pizza: {e!r}") from e
    # A function of the ID, so that the same event twice makes the same pizza.
    chance = int.from_bytes(hashlib.sha256(pizza_id.encode()).digest()[:8], "big")
    pizza["cheese"] = MENU[chance % len(MENU)]
    text = json.dumps(pizza, ensure_ascii=False, separators=(",", ":"))
    # What UTF-8 has no bytes for, half a surrogate pair, stays an escape.
    return pizza_id, re.sub(f'"{MARK}([^"]*)"', r"\1", text).encode(errors="backslashreplace")


def handle(records, producer, topic):
    """Publishes what becomes of the records, and returns when Kafka has it all."""
    sent = []
    for r in records:
        try:
            pizza_id, body = add_cheese(r.value)
            sent.append((r, producer.send(topic, key=pizza_id.encode(), value=body)))
        except ValueError as e:
            skip(r, e)
    producer.flush()
    for r, future in sent:
        try:
            future.get()
        except MessageSizeTooLargeError as e:
            skip(r, e)


def skip(r, why):
    print(f"skipped {r.topic} partition {r.partition} offset {r.offset}: {why}", file=sys.stderr, flush=True)


def work(args, running):
    # The topics are pizzamill's to create: it knows with how many partitions.
    common = {
        "bootstrap_servers": args.brokers.split(","), "allow_auto_create_topics": False,
        "metadata_max_age_ms": 1000, "reconnect_backoff_max_ms": 1000, "bootstrap_timeout_ms": 5000}
    # Kafka says what is too large. An idempotent producer of this library fails
    # all that follows such a record; without, one request at a time keeps the order.
    producer = KafkaProducer(
        acks="all", enable_idempotence=False, max_in_flight_requests_per_connection=1,
        max_request_size=1 << 30, request_timeout_ms=5000, delivery_timeout_ms=10000, **common)
    consumer = KafkaConsumer(
        args.prefix + args.input, group_id=args.prefix + "pizzamill.cheese",
        auto_offset_reset="earliest", enable_auto_commit=False, **common)
    try:
        while running():
            batches = consumer.poll(timeout_ms=500)
            if batches:
                handle([r for batch in batches.values() for r in batch], producer, args.prefix + args.output)
                consumer.commit()
    finally:
        consumer.close(timeout_ms=2000)
        producer.close(timeout=2)


def main():
    parser = argparse.ArgumentParser(description="a cheese stage for pizzamill on Kafka")
    parser.add_argument("--brokers", default=os.environ.get("PIZZAMILL_KAFKA_BROKERS", "127.0.0.1:9092"))
    parser.add_argument("--prefix", default=os.environ.get("PIZZAMILL_BUS_PREFIX", ""))
    parser.add_argument("--input", default="pizza-with-sauce", help="topic of the stage before (%(default)s)")
    parser.add_argument("--output", default="pizza-with-cheese", help="topic of this stage (%(default)s)")
    args = parser.parse_args()
    stop = []
    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, lambda *_: stop.append(True))
    while not stop:
        try:
            work(args, lambda: not stop)
        except KafkaError as e:  # what was not committed comes again
            print(f"waiting for Kafka at {args.brokers}: {e}", file=sys.stderr, flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main()
