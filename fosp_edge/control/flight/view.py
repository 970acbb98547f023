"""A live view in a browser, for `fosp-edge run --view`: loopback only, reads only, in the recorder's process.

The control loop never meets a browser: the view shows what has come through the ring of the flight recorder.
"""

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fosp_edge.bundle.manifest import Manifest
from fosp_edge.control.flight.png import png
from fosp_edge.control.types import TickRecord

HOST = "127.0.0.1"
_KEPT = 200


class ViewServer:
    """Serves the newest tick until it is closed."""

    def __init__(self, port: int, manifest: Manifest) -> None:
        """Listen on a loopback port; 0 for any. Raises OSError: it is taken."""
        self._manifest = manifest
        self._newest: TickRecord | None = None
        self._points: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self._said: deque[str] = deque(maxlen=8)
        view = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0

            def do_GET(self) -> None:
                view._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        try:
            self._server = ThreadingHTTPServer((HOST, port), Handler)
        except OSError as error:
            raise OSError(
                error.errno, f"the view cannot listen on port {port} ({error.strerror}); name another"
            ) from None
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, name="view", daemon=True).start()

    def show(self, record: TickRecord) -> None:
        """This is the newest tick."""
        self._newest = record
        if record.scores is not None and record.filter is not None:
            reach = record.scores.reachability
            self._points.append((float(reach[0]), float(reach[record.filter.chosen])))

    def say(self, sentence: str) -> None:
        """Something happened."""
        self._said.append(sentence)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        # A page of another site whose name was pointed at this address sends its own name here.
        host = (request.headers.get("Host") or "").rpartition(":")[0]
        path = request.path.partition("?")[0]
        if host not in (HOST, "localhost"):
            self._send(request, 403, "text/plain", b"this view is for this computer only\n")
        elif path == "/":
            self._send(request, 200, "text/html; charset=utf-8", _PAGE)
        elif path == "/state.json":
            self._send(request, 200, "application/json", json.dumps(self.state()).encode())
        elif path == "/frame.png" and (newest := self._newest) is not None:
            image = newest.observation.image
            height, width, channels = image.shape
            cameras = image.reshape(height, width, channels // 3, 3).transpose(0, 2, 1, 3)
            self._send(request, 200, "image/png", png(cameras.reshape(height, width * channels // 3, 3)))
        else:
            self._send(request, 404, "text/plain", b"nothing there\n")

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
        request.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", "default-src 'self' 'unsafe-inline'"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def state(self) -> dict[str, Any]:
        """What the page shows."""
        newest, limits = self._newest, self._manifest.filter
        found: dict[str, Any] = {
            "name": self._manifest.name,
            "feasible": limits.feasible_reachability,
            "stop": limits.stop_reachability,
            "points": list(self._points),
            "events": list(self._said),
            "state": "starting",
        }
        if newest is not None:
            found |= {
                "tick": newest.tick,
                "state": newest.state.value,
                "reason": newest.reason.value,
                "latency_ms": round(newest.latency_s * 1e3, 2),
                "frame_age_ms": round(newest.frame_age_s * 1e3, 1),
                "action": [round(float(value), 3) for value in newest.action],
            }
        return found


_PAGE = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>fosp-edge</title>
<style>body{font:15px system-ui,sans-serif;margin:1.5rem;max-width:60rem;color:#222}
img{image-rendering:pixelated;height:256px;background:#ddd}h1{font-size:1.2rem}
#state{padding:.2rem .6rem;border-radius:.3rem;background:#ccc}.running{background:#9d9!important}
.recovering{background:#fd8!important}.stopped{background:#f99!important}
svg{width:100%;height:160px;border:1px solid #ccc}li{color:#555}</style></head><body>
<h1><span id="name">fosp-edge</span> <span id="state"></span></h1><p id="reason"></p>
<img id="frame" alt="what the cameras see"><svg id="plot" viewBox="0 0 200 100" preserveAspectRatio="none"
role="img" aria-label="reachability of a violation"></svg>
<p>Predicted probability of a violation: <span style="color:#c05621">wanted</span>,
<span style="color:#1f6f8b">done</span>; dashed: feasible up to there.</p><p id="numbers"></p><ul id="events"></ul>
<script>
const line=(points,which,colour)=>`<polyline fill="none" vector-effect="non-scaling-stroke" stroke="${colour}"
 points="`+points.map((p,i)=>`${i},${100-100*p[which]}`).join(" ")+`"/>`;
async function show(){try{const s=await(await fetch("/state.json")).json();
 for(const id of ["name","state","reason"])document.getElementById(id).textContent=s[id]??"";
 document.getElementById("state").className=s.state;
 document.getElementById("plot").innerHTML=`<line x1="0" x2="200" y1="${100-100*s.feasible}" y2="${100-100*s.feasible}"
 stroke="#333" stroke-dasharray="3" vector-effect="non-scaling-stroke"/>`
 +line(s.points,0,"#c05621")+line(s.points,1,"#1f6f8b");
 document.getElementById("numbers").textContent=s.tick===undefined?"":
 `tick ${s.tick}, latency ${s.latency_ms} ms, frame age ${s.frame_age_ms} ms, action ${s.action.join(", ")}`;
 const list=document.getElementById("events");list.replaceChildren(...s.events.map(t=>{
 const item=document.createElement("li");item.textContent=t;return item}));
 if(s.tick!==undefined)document.getElementById("frame").src="/frame.png?"+s.tick}
 catch{document.getElementById("state").textContent="no longer there"}}
setInterval(show,250);show();
</script></body></html>
"""
