"""A cheese stage for pizzamill on RabbitMQ. See README.md."""

import argparse
import hashlib
import json
import os
import re
import signal
import sys
import time
import uuid

import pika
from pika.exceptions import AMQPError

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


def work(args, running):
    queue, exchange = f"{args.prefix}{args.input}.cheese", args.prefix + args.output
    with pika.BlockingConnection(pika.URLParameters(args.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()  # from now on basic_publish returns when the broker has it
        channel.basic_qos(prefetch_count=64)
        # The queue and the exchange are pizzamill's to declare: until it has, this fails.
        for method, _, body in channel.consume(queue, inactivity_timeout=0.5):
            if not running():
                break
            if method is None:
                continue
            try:
                pizza_id, body = add_cheese(body)
                channel.basic_publish(exchange, pizza_id, body, pika.BasicProperties(delivery_mode=2))  # persistent
            except ValueError as e:
                print(f"skipped a message of {queue}: {e}", file=sys.stderr, flush=True)
            channel.basic_ack(method.delivery_tag)


def main():
    parser = argparse.ArgumentParser(description="a cheese stage for pizzamill on RabbitMQ")
    parser.add_argument("--url", default=os.environ.get("PIZZAMILL_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/"))
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
        except (AMQPError, OSError) as e:  # what was not acknowledged comes again
            print(f"waiting for RabbitMQ: {e!r}", file=sys.stderr, flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main()
