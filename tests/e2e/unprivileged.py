# SPDX-License-Identifier: Apache-2.0
"""Without any capability the same program is a plain collector: it forwards, and says in its log,
its metrics and `doctor` what is missing."""
import re

from harness import jaeger
from harness.bed import COLLECTOR
from harness.check import case, equal, expect
from harness.program import Undertrace
from harness.traffic import Client, Server

WITHOUT = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


@case
def test(lab, folder):
    bridge = lab.bridge("10.78.0.1/24")
    backend = jaeger.Jaeger(lab, folder).start()
    undertrace = Undertrace(lab, folder, COLLECTOR, jaeger.OTLP, before=WITHOUT).start()
    node = lab.node("client")
    lab.attach(node, bridge, "10.78.0.10/24")
    server = Server(node, "server", "127.0.0.1", 8000, COLLECTOR, folder)
    client = Client(node, "client", COLLECTOR, folder)
    call = client.call(server.url())
    for span in backend.wait_for(call["trace_id"], 2):
        equal(span.evidence, {}, f"evidence on {span}")

    log = undertrace.log.read_text()
    expect("CAP_BPF" in log, f"the log names the missing capability:\n{log}")
    doctor = undertrace.command("doctor")
    print(doctor.stdout)
    equal(doctor.returncode, 1, "exit status of doctor where something is missing")
    for name in ("CAP_BPF", "CAP_PERFMON", "tcp_retransmit_skb"):
        expect(re.search(rf"^  missing  {name} ", doctor.stdout, re.M), f"doctor: missing {name}")
    programs = {name: value for name, value in undertrace.metrics().items()
                if name.startswith("undertrace_ebpf_program")}
    expect(programs and not any(programs.values()),
           f"the metrics show that no kernel program works: {programs}")
    undertrace.stop()
