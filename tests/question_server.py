"""Somebody who is asked at a gate: a real HTTP server that answers as it is told, and remembers the questions."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class QuestionServer:
    """`status` is what it answers; 0: nothing, until it stops."""

    def __init__(self, status: int = 403) -> None:
        self.status = status
        self.questions: list[dict] = []
        self._stopped = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.questions.append({"path": self.path, **json.loads(body)})
                if not outer.status:
                    outer._stopped.wait(30)
                    return
                self.send_response(outer.status)
                if outer.status == 302:
                    self.send_header("Location", "/yes")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                outer.questions.append({"path": self.path})
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/may-i"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
