"""A web app without a line of telemetry in it: `opentelemetry-instrument` puts it there."""

import logging
import sys

from flask import Flask
from werkzeug.serving import make_server

app = Flask(__name__)
log = logging.getLogger("shop")


@app.get("/items/<int:item>")
def item(item):
    log.warning("item %d was asked for", item)
    return {"item": item}


@app.get("/checkout")
def checkout():
    raise RuntimeError("card declined")


server = make_server("127.0.0.1", 0, app, threaded=True)
print(f"listening {server.server_port}", flush=True)


@app.post("/stop")
def stop():
    import threading

    threading.Thread(target=server.shutdown).start()
    return {}


server.serve_forever()
sys.exit(0)
