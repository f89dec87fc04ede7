"""What the demo runs."""

import sys
from socketserver import ThreadingMixIn
from threading import Thread
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.core.management.base import BaseCommand
from django.core.wsgi import get_wsgi_application


class ThreadingServer(ThreadingMixIn, WSGIServer):
    """Serve each request in a thread, none of which holds up the end of the process."""

    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    """Leave requests out of the log, so that what is in it went wrong."""

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class Command(BaseCommand):
    """Serve on a free port of this machine until standard input ends."""

    help = "Serve on a free port of this machine, print the address, end with standard input."

    def handle(self, **_: object) -> None:
        """Bind, say where, serve."""
        # Port 0 lets the kernel choose: no other program can take the port between choice and use.
        server = make_server(
            "127.0.0.1",
            0,
            get_wsgi_application(),
            server_class=ThreadingServer,
            handler_class=QuietHandler,
        )
        # The process that started this one holds the other end of its standard input; when that process
        # ends, however it ends, the server ends too.
        Thread(target=self.shut_down_at_eof, args=(server,), daemon=True).start()
        self.stdout.write(f"http://127.0.0.1:{server.server_port}")
        self.stdout.flush()
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:  # Ctrl-C in a terminal reaches this process, too
            return
        finally:
            server.server_close()

    @staticmethod
    def shut_down_at_eof(server: WSGIServer) -> None:
        """Wait until standard input ends."""
        sys.stdin.buffer.read()
        server.shutdown()
