/* SPDX-License-Identifier: Apache-2.0 */
/* Names that Undertrace adds to spans and resources, each written once. */
#ifndef UT_MODEL_ATTRIBUTES_H
#define UT_MODEL_ATTRIBUTES_H

#define UT_ATTR_PREFIX "undertrace."

/* On the span. */
#define UT_ATTR_TCP_MATCH "undertrace.tcp.match"
#define UT_ATTR_TCP_SIDE "undertrace.tcp.side"
#define UT_ATTR_TCP_RETRANSMITS "undertrace.tcp.retransmits"
#define UT_ATTR_TCP_RETRANSMIT_BYTES "undertrace.tcp.retransmit_bytes"
#define UT_ATTR_TCP_TIMEOUTS "undertrace.tcp.timeouts"
#define UT_ATTR_TCP_PROBES "undertrace.tcp.probes"
#define UT_ATTR_TCP_RESETS "undertrace.tcp.resets"
#define UT_ATTR_TCP_CONNECT_NS "undertrace.tcp.connect_ns"
#define UT_ATTR_TCP_ZERO_WINDOW_NS "undertrace.tcp.zero_window_ns"
#define UT_ATTR_TCP_RECEIVE_DROPS "undertrace.tcp.receive_drops"
#define UT_ATTR_TCP_LISTEN_OVERFLOWS "undertrace.tcp.listen_overflows"
#define UT_ATTR_MEMORY_HELD_BYTES "undertrace.memory.held_bytes" /* by the workload, at the end */
#define UT_ATTR_MEMORY_HELD_CHANGE_BYTES "undertrace.memory.held_change_bytes"
#define UT_ATTR_MEMORY_HELD_SLOT_MS "undertrace.memory.held_slot_ms" /* between readings of it */
#define UT_ATTR_MEMORY_ALLOCATED_BYTES "undertrace.memory.allocated_bytes" /* by the workload */
#define UT_ATTR_MEMORY_STALL_NS "undertrace.memory.stall_ns"               /* task time */
#define UT_ATTR_MEMORY_STALL_WALL_NS "undertrace.memory.stall_wall_ns"     /* as PSI counts */
#define UT_ATTR_MEMORY_STALL_SCOPE "undertrace.memory.stall_scope"
#define UT_ATTR_MEMORY_OOM_KILLS "undertrace.memory.oom_kills"
#define UT_ATTR_SHARED_BY "undertrace.shared_by"
#define UT_ATTR_PARTIAL "undertrace.partial"

/* On a span event. */
#define UT_EVENT_TCP_RETRANSMIT "tcp.retransmit"
#define UT_EVENT_TCP_RESET "tcp.reset"
#define UT_EVENT_TCP_ZERO_WINDOW "tcp.zero_window"
#define UT_EVENT_TCP_RECEIVE_DROP "tcp.receive_drop"
#define UT_EVENT_TCP_LISTEN_OVERFLOW "tcp.listen_overflow"
#define UT_EVENT_MEMORY_STALL "memory.stall"
#define UT_EVENT_MEMORY_OOM_KILL "memory.oom_kill"
#define UT_ATTR_MATCH "undertrace.match"
#define UT_ATTR_SIDE "undertrace.side"
#define UT_ATTR_LOCAL_ADDRESS "network.local.address"
#define UT_ATTR_LOCAL_PORT "network.local.port"
#define UT_ATTR_PEER_ADDRESS "network.peer.address"
#define UT_ATTR_PEER_PORT "network.peer.port"
#define UT_ATTR_TCP_TYPE "undertrace.tcp.type"
#define UT_ATTR_TCP_SEQ "undertrace.tcp.seq"
#define UT_ATTR_TCP_BYTES "undertrace.tcp.bytes"
#define UT_ATTR_TCP_SEGMENTS "undertrace.tcp.segments"
#define UT_ATTR_TCP_SPURIOUS "undertrace.tcp.spurious" /* the kernel found it needless */
#define UT_ATTR_TCP_SENDING_THREAD "undertrace.tcp.sending_thread" /* gettid() to itself */
#define UT_ATTR_TCP_WAITED_NS "undertrace.tcp.waited_ns"
#define UT_ATTR_TCP_WAITED_MIN_NS "undertrace.tcp.waited_min_ns"
#define UT_ATTR_TCP_SRTT_US "undertrace.tcp.srtt_us"
#define UT_ATTR_TCP_MIN_RTT_US "undertrace.tcp.min_rtt_us"
#define UT_ATTR_TCP_DELIVERY_RATE "undertrace.tcp.delivery_rate" /* bytes a second */
#define UT_ATTR_TCP_CWND "undertrace.tcp.cwnd"
#define UT_ATTR_TCP_SK_WMEM_ALLOC "undertrace.tcp.sk_wmem_alloc"
#define UT_ATTR_TCP_STATE "undertrace.tcp.state"
#define UT_ATTR_MEMORY_VICTIM_PID "undertrace.memory.victim_pid" /* of the first pid namespace */
#define UT_ATTR_MEMORY_VICTIM_BYTES "undertrace.memory.victim_bytes"
#define UT_ATTR_OMITTED "undertrace.omitted" /* on the last event: how many more there were */

/* On the Resource, verified. */
#define UT_ATTR_CONTAINER_ID "container.id"
#define UT_ATTR_POD_UID "k8s.pod.uid"
#define UT_ATTR_CGROUP_PATH "undertrace.cgroup.path"
#define UT_ATTR_CONTAINER_NAME "container.name"
#define UT_ATTR_CONTAINER_IMAGE "container.image.name"
#define UT_ATTR_POD_NAME "k8s.pod.name"
#define UT_ATTR_POD_NAMESPACE "k8s.namespace.name"
#define UT_ATTR_POD_CONTAINER "k8s.container.name"
#define UT_ATTR_RUNTIME_NAME "container.runtime.name"
#define UT_ATTR_RUNTIME_VERSION "container.runtime.version"
#define UT_ATTR_CONTAINERD_VERSION "containerd.runtime.version" /* the older name of it */

#endif
