# SPDX-License-Identifier: Apache-2.0
"""With exactly the rights that it advises to give, doctor finds nothing missing; and it tells what
a configuration asks for beyond them."""
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from harness.program import program

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
ADVICE = "setcap cap_bpf,cap_perfmon+ep "
EXACT = """\
receivers: {otlp: {protocols: {grpc: }}, ebpf: {trace_context: {enabled: true}}}
processors: {correlate: }
exporters: {debug: }
service: {pipelines: {traces: {receivers: [otlp, ebpf], processors: [correlate],
  exporters: [debug]}}}
undertrace: {admin: ''}
"""


class Doctor(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ute2e-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.folder.chmod(0o755)
        self.program = self.folder / "undertrace"
        shutil.copy(program(), self.program)

    def diagnose(self, *words):
        return subprocess.run([*NOBODY, self.program, "doctor", *words], capture_output=True,
                              text=True, check=False, timeout=60)

    def lines(self, state, text):
        """The names that stand in lines of that state."""
        return set(re.findall(rf"^  {state} +(\S+)", text, re.M))

    def give(self, capabilities):
        subprocess.run(["setcap", capabilities, self.program], check=True)

    def test_what_it_advises_is_enough(self):
        without = self.diagnose()
        self.assertEqual(without.returncode, 1, without)
        self.assertIn(ADVICE, without.stdout)
        self.assertLessEqual({"CAP_BPF", "CAP_PERFMON", "tcp_retransmit_skb"},
                             self.lines("missing", without.stdout))
        self.give(ADVICE.split()[1])
        given = self.diagnose()
        # A containerd of the machine is for root alone, whatever the program may.
        missing = self.lines("missing", given.stdout)
        self.assertLessEqual(missing, {"containerd"}, given.stdout)
        self.assertEqual(given.returncode, len(missing), given)
        self.assertEqual(self.lines("note", given.stdout) & {"CAP_NET_ADMIN", "trace_egress"},
                         {"CAP_NET_ADMIN", "trace_egress"}, given.stdout)
        self.assertEqual("\nNothing is missing.\n" in given.stdout, not missing, given)

    def test_what_a_configuration_asks_for_is_missing(self):
        config = self.folder / "exact.yaml"
        config.write_text(EXACT)
        self.give("cap_bpf,cap_perfmon+ep")
        given = self.diagnose("--config", config)
        self.assertEqual(self.lines("missing", given.stdout) - {"containerd"},
                         {"CAP_NET_ADMIN", "trace_egress"}, given.stdout)
        self.assertEqual(given.returncode, 1)
        self.assertIn("setcap cap_bpf,cap_perfmon,cap_net_admin+ep ", given.stdout)
        self.give("cap_bpf,cap_perfmon,cap_net_admin+ep")
        given = self.diagnose("--config", config)
        self.assertLessEqual(self.lines("missing", given.stdout), {"containerd"}, given.stdout)


if __name__ == "__main__":
    unittest.main()
