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

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

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
    failed = []

    def delivered(r):
        def report(error, _):
            if error and error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                skip(r, error)
            elif error:
                failed.append(error)
        return report

    for r in records:
        try:
            pizza_id, body = add_cheese(r.value() or b"")
        except ValueError as e:
            skip(r, e)
            continue
        try:
            producer.produce(topic, key=pizza_id, value=body, on_delivery=delivered(r))
        except BufferError:  # its queue is full
            producer.flush()
            producer.produce(topic, key=pizza_id, value=body, on_delivery=delivered(r))
    producer.flush()
    if failed:
        raise KafkaException(failed[0])


def skip(r, why):
    print(f"skipped {r.topic()} partition {r.partition()} offset {r.offset()}: {why}", file=sys.stderr, flush=True)


def work(args, running):
    # Kafka says what is too large, not this client; and each record goes by itself,
    # since Kafka refuses a batch as a whole.
    producer = Producer({
        "bootstrap.servers": args.brokers, "enable.idempotence": True, "delivery.timeout.ms": 10_000,
        "message.max.bytes": 1_000_000_000, "batch.num.messages": 1})
    # The topics are pizzamill's to create: it knows with how many partitions.
    consumer = Consumer({
        "bootstrap.servers": args.brokers, "group.id": args.prefix + "pizzamill.cheese",
        "auto.offset.reset": "earliest", "enable.auto.commit": False, "session.timeout.ms": 10_000,
        "allow.auto.create.topics": False, "topic.metadata.refresh.interval.ms": 1000})
    consumer.subscribe([args.prefix + args.input])
    try:
        while running():
            records = consumer.consume(num_messages=500, timeout=0.05)
            for r in records:
                if r.error() and r.error().code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise KafkaException(r.error())
            records = [r for r in records if not r.error()]
            if records:
                handle(records, producer, args.prefix + args.output)
                consumer.commit(asynchronous=False)
    finally:
        consumer.close()


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
        except KafkaException as e:  # what was not committed comes again
            print(f"waiting for Kafka at {args.brokers}: {e.args[0]}", file=sys.stderr, flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main()
