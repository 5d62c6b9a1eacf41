/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/ingest.h"

/* A record is read at most so long before the caller's `now` was. */
#define FUTURE_NS (60 * UT_NS_PER_S)
/* More than one segment of 64 KiB with its headers can hold; what GSO makes of one is still less.
 */
enum { BYTES_MAX = 1 << 20, SEGMENTS_MAX = UINT16_MAX, TCP_STATES = 13, THREAD_MAX = 1 << 22 };
/* A connect that took at least this long is evidence: without a loss only far or busy ends need it.
 */
#define SLOW_CONNECT_NS (100 * UT_NS_PER_MS)
/* Of all tasks in one slot: more tasks than that the kernel cannot number. */
#define STALLED_MAX_NS ((UINT64_C(1) << 22) * UT_STALL_SLOT_NS)

/* In one window, which a program that stood still may have made long. */
#define ALLOCATED_MAX_BYTES (UINT64_C(1) << 50)
#define ALLOCATED_MAX_NS (3600 * UT_NS_PER_S)

/* UNIX time of a record; 0: it makes no sense. */
static uint64_t unix_time(uint64_t boot_ns, int64_t unix_offset_ns, uint64_t now_ns)
{
    int64_t unix_ns;
    if (boot_ns > INT64_MAX || __builtin_add_overflow((int64_t)boot_ns, unix_offset_ns, &unix_ns) ||
        unix_ns <= 0)
        return 0;
    return now_ns != 0 && (uint64_t)unix_ns > now_ns + FUTURE_NS ? 0 : (uint64_t)unix_ns;
}

static struct ut_address normalised(const ut_u8 bytes[16])
{
    struct ut_address address;
    memcpy(address.bytes, bytes, sizeof(address.bytes));
    return address;
}

static bool read_socket(struct ut_connection_fact *ret, const struct ut_record_header *header,
                        const struct ut_record_socket *socket)
{
    if (socket->role > UT_ROLE_ACCEPT || socket->state >= TCP_STATES)
        return false;
    *ret = (struct ut_connection_fact){
        .unix_ns = ret->unix_ns,
        .cgroup_id = header->cgroup_id,
        .cookie = header->has & UT_HAS_COOKIE ? socket->cookie : 0,
        .netns_cookie = header->has & UT_HAS_NETNS ? socket->netns_cookie : 0,
        .local = {normalised(socket->local_address), socket->local_port},
        .remote = {normalised(socket->remote_address), socket->remote_port},
        .role = socket->role,
        .has_isn = header->has & UT_HAS_ISN,
        .local_isn = socket->local_isn,
        .remote_isn = socket->remote_isn,
    };
    return true;
}

static void read_path(struct ut_event *ret, const struct ut_record_path *path)
{
    ret->srtt_us = path->srtt_us;
    ret->min_rtt_us = path->min_rtt_us;
    ret->cwnd = path->cwnd;
    ret->wmem_alloc = path->wmem_alloc;
    ret->delivery_rate = path->delivery_rate;
}

static enum ut_ingest_result ingest_retransmit(struct ut_tables *tables,
                                               const struct ut_record_retransmit *record,
                                               uint64_t unix_ns)
{
    struct ut_connection_fact fact = {.unix_ns = unix_ns};
    bool handshake = record->cause == UT_CAUSE_SYN || record->cause == UT_CAUSE_SYN_ACK;
    if (!read_socket(&fact, &record->header, &record->socket) || record->cause > UT_CAUSE_SYN_ACK ||
        record->bytes > BYTES_MAX || record->segments > SEGMENTS_MAX)
        return UT_INGEST_BAD;
    if ((record->header.has & UT_HAS_ERR) && record->err != 0)
        return UT_INGEST_NOT_SENT;
    if (record->bytes == 0 && !handshake)
        return UT_INGEST_EMPTY;
    struct ut_event event = {
        .seen_ns = unix_ns,
        .rto_us = record->rto_us,
        .seq = record->seq,
        .bytes = record->bytes,
        .since_received_us = record->since_received_us,
        .since_sent_us = record->since_sent_us,
        .segments = record->segments > 0 ? (uint16_t)record->segments : 1,
        .has = (uint16_t)record->header.has,
        .cause = record->cause & 15,
        .state = record->socket.state & 15U,
    };
    if (event.has & UT_HAS_SENT_EXACT) {
        event.has &= (uint16_t)~UT_HAS_RTO;
        event.sent_within_us = record->sent_within_us < record->since_sent_us
                                   ? record->sent_within_us
                                   : record->since_sent_us;
    }
    read_path(&event, &record->path);
    struct ut_connection *connection =
        ut_connections_learn(&tables->connections, &fact, UT_CONNECTION_SEEN);
    uint32_t slot = ut_event_store_add(&tables->events, &event, connection);
    if (record->thread <= THREAD_MAX)
        tables->events.thread[slot] = record->thread;
    ut_tally_add(&tables->tally, connection->workload, UT_TALLY_RETRANSMITS + (int)record->cause,
                 event.segments);
    return UT_INGEST_RETRANSMIT;
}

/* In whole microseconds, as many as an event has room for, and not before the beginning of time. */
static uint32_t lasted_us(uint64_t ns, uint64_t unix_ns)
{
    uint64_t us = (ns < unix_ns ? ns : unix_ns) / 1000;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static void tally(struct ut_tally *tally, const struct ut_event *event, uint32_t workload)
{
    uint64_t lasted_ns = (uint64_t)event->since_sent_us * 1000;
    if (event->kind == UT_EVENT_RESET)
        ut_tally_add(tally, workload, UT_TALLY_RESETS + event->cause, 1);
    else if (event->kind == UT_EVENT_ZERO_WINDOW)
        ut_tally_add(tally, workload, UT_TALLY_ZERO_WINDOW_NS, lasted_ns);
    else if (event->kind == UT_EVENT_RECEIVE_DROP)
        ut_tally_add(tally, workload, UT_TALLY_RECEIVE_DROPS, 1);
    else if (event->kind == UT_EVENT_LISTEN_OVERFLOW)
        ut_tally_add(tally, workload, UT_TALLY_LISTEN_OVERFLOWS, 1);
}

static enum ut_ingest_result ingest_tcp(struct ut_tables *tables,
                                        const struct ut_record_tcp *record, uint64_t unix_ns)
{
    static const struct {
        enum ut_ingest_result result;
        uint8_t kind;        /* enum ut_event_kind */
        uint8_t least, most; /* of `detail` */
    } rows[UT_RECORD_TYPES] = {
        [UT_RECORD_RESET] = {UT_INGEST_RESET, UT_EVENT_RESET, UT_RESET_SENT, UT_RESET_RECEIVED},
        [UT_RECORD_ZERO_WINDOW] = {UT_INGEST_ZERO_WINDOW, UT_EVENT_ZERO_WINDOW, 0, 0},
        [UT_RECORD_RECEIVE_DROP] = {UT_INGEST_RECEIVE_DROP, UT_EVENT_RECEIVE_DROP,
                                    UT_DROP_RECEIVE_BUFFER, UT_DROP_WINDOW},
        [UT_RECORD_LISTEN_OVERFLOW] = {UT_INGEST_LISTEN_OVERFLOW, UT_EVENT_LISTEN_OVERFLOW, 0, 0},
        [UT_RECORD_UNDO] = {UT_INGEST_UNDO, UT_EVENT_KINDS, 0, 0},
    };
    struct ut_connection_fact fact = {.unix_ns = unix_ns};
    uint8_t type = record->header.type;
    if (!read_socket(&fact, &record->header, &record->socket) ||
        record->detail < rows[type].least || record->detail > rows[type].most)
        return UT_INGEST_BAD;
    struct ut_connection *connection =
        ut_connections_learn(&tables->connections, &fact, UT_CONNECTION_SEEN);
    if (type == UT_RECORD_UNDO) {
        uint64_t since_ns = record->ns < unix_ns ? unix_ns - record->ns : 0;
        ut_event_store_undo(&tables->events, connection, since_ns);
        return UT_INGEST_UNDO;
    }
    struct ut_event event = {
        .seen_ns = unix_ns,
        .since_sent_us = type == UT_RECORD_ZERO_WINDOW ? lasted_us(record->ns, unix_ns) : 0,
        .bytes = record->bytes,
        .has = (uint16_t)record->header.has,
        .kind = rows[type].kind & 15U,
        .cause = record->detail & 15,
        .state = record->socket.state & 15U,
    };
    read_path(&event, &record->path);
    ut_event_store_add(&tables->events, &event, connection);
    tally(&tables->tally, &event, connection->workload);
    return rows[type].result;
}

/* A connect() that has just come to its end, one way or the other. */
static void note_slow_connect(struct ut_tables *tables, struct ut_connection *connection,
                              uint64_t unix_ns)
{
    uint64_t opened_ns = connection->opened_ns;
    if (connection->role != UT_ROLE_CONNECT || opened_ns == 0 ||
        unix_ns < opened_ns + SLOW_CONNECT_NS)
        return;
    const struct ut_event event = {
        .seen_ns = unix_ns,
        .since_sent_us = lasted_us(unix_ns - opened_ns, unix_ns),
        .kind = UT_EVENT_CONNECT,
    };
    ut_event_store_add(&tables->events, &event, connection);
}

static enum ut_ingest_result ingest_connection(struct ut_tables *tables,
                                               const struct ut_record_connection *record,
                                               uint64_t unix_ns)
{
    struct ut_connection_fact fact = {.unix_ns = unix_ns};
    if (record->change < UT_CONNECTION_OPENED || record->change > UT_CONNECTION_SNAPSHOT ||
        !read_socket(&fact, &record->header, &record->socket))
        return UT_INGEST_BAD;
    struct ut_connection *connection = ut_connections_learn(
        &tables->connections, &fact, (enum ut_connection_change)record->change);
    if (record->change == UT_CONNECTION_OPENED || record->change == UT_CONNECTION_FAILED)
        note_slow_connect(tables, connection, unix_ns);
    return UT_INGEST_CONNECTION;
}

static enum ut_ingest_result ingest_cgroup(struct ut_tables *tables,
                                           const struct ut_record_cgroup *record, size_t size,
                                           uint64_t unix_ns)
{
    if (record->path_size > UT_CGROUP_PATH_MAX ||
        record->path_size > size - offsetof(struct ut_record_cgroup, path) ||
        record->header.cgroup_id == 0)
        return UT_INGEST_BAD;
    uint64_t id = record->header.cgroup_id;
    if (record->change == UT_CGROUP_CREATED)
        ut_workloads_created(&tables->workloads, id, ut_slice_of(record->path, record->path_size),
                             unix_ns);
    else if (record->change == UT_CGROUP_REMOVED)
        ut_workloads_removed(&tables->workloads, id, unix_ns);
    else
        return UT_INGEST_BAD;
    return UT_INGEST_CGROUP;
}

static enum ut_ingest_result
ingest_oom_kill(struct ut_tables *tables, const struct ut_record_oom_kill *record, uint64_t unix_ns)
{
    bool known;
    if (record->bytes > INT64_MAX)
        return UT_INGEST_BAD;
    const struct ut_oom_kill kill = {
        .seen_ns = unix_ns,
        .bytes = record->bytes,
        .has_bytes = record->header.has & UT_HAS_SIZE,
        .workload = ut_workloads_of_cgroup(&tables->workloads, record->header.cgroup_id, &known),
        .pid = record->pid,
    };
    ut_memory_store_kill(&tables->memory, &kill);
    ut_tally_add(&tables->tally, kill.workload, UT_TALLY_OOM_KILLS, 1);
    return UT_INGEST_OOM_KILL;
}

/* A limit on a directory below the one that names the workload is its own as well. */
static enum ut_stall_scope scope_of(const struct ut_tables *tables,
                                    const struct ut_record_stall *record)
{
    if (record->level == UT_STALL_GLOBAL)
        return UT_SCOPE_GLOBAL;
    uint32_t depth = ut_workloads_depth(&tables->workloads, record->header.cgroup_id);
    return record->level <= depth ? UT_SCOPE_OWN : UT_SCOPE_ANCESTOR;
}

static enum ut_ingest_result ingest_stall(struct ut_tables *tables,
                                          const struct ut_record_stall *record, uint64_t unix_ns)
{
    bool known;
    if (record->first_ns > record->last_ns || record->last_ns > UT_STALL_SLOT_NS ||
        record->ns > STALLED_MAX_NS)
        return UT_INGEST_BAD;
    const struct ut_stall stall = {
        .from_ns = unix_ns + record->first_ns,
        .to_ns = unix_ns + record->last_ns,
        .ns = record->ns,
        .slot = record->header.boot_ns / UT_STALL_SLOT_NS,
        .workload = ut_workloads_of_cgroup(&tables->workloads, record->header.cgroup_id, &known),
        .scope = (uint8_t)scope_of(tables, record),
    };
    ut_memory_store_stall(&tables->memory, &stall);
    ut_tally_add(&tables->tally, stall.workload, UT_TALLY_STALLED_NS + stall.scope, stall.ns);
    ut_held_stalled(&tables->held, stall.workload, stall.from_ns, stall.to_ns);
    return UT_INGEST_STALL;
}

static bool ids_make_sense(const struct ut_record_trace_ids *record)
{
    static const uint8_t zeros[16];
    if (record->cookie == 0 || record->count == 0 || record->count > UT_TRACE_IDS_MAX ||
        record->bytes > BYTES_MAX)
        return false;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct ut_trace_id *id = &record->ids[i];
        if (memcmp(id->trace_id, zeros, 16) == 0 || memcmp(id->span_id, zeros, 8) == 0 ||
            id->bytes == 0 || id->bytes > record->bytes || id->offset > record->bytes - id->bytes)
            return false;
    }
    return true;
}

static enum ut_ingest_result ingest_trace_ids(struct ut_tables *tables,
                                              const struct ut_record_trace_ids *record)
{
    if (!ids_make_sense(record))
        return UT_INGEST_BAD;
    const struct ut_connection *connection =
        ut_connections_by_cookie(&tables->connections, record->cookie);
    if (connection == NULL || !ut_event_store_trace(&tables->events, connection, record))
        return UT_INGEST_TRACE_IDS_ALONE;
    tables->requests_untold += record->more;
    return UT_INGEST_TRACE_IDS;
}

static enum ut_ingest_result ingest_allocated(struct ut_tables *tables,
                                              const struct ut_record_allocated *record,
                                              uint64_t unix_ns)
{
    bool known;
    uint64_t cgroup = record->header.cgroup_id;
    if (record->bytes > ALLOCATED_MAX_BYTES || record->window_ns > ALLOCATED_MAX_NS)
        return UT_INGEST_BAD;
    if (cgroup == 0) {
        ut_held_window(&tables->held, unix_ns, unix_ns + record->window_ns);
        return UT_INGEST_ALLOCATED;
    }
    uint32_t workload = ut_workloads_of_cgroup(&tables->workloads, cgroup, &known);
    *(workload != 0 ? &tables->memory.allocated_bytes : &tables->memory.unowned_allocated_bytes) +=
        record->bytes;
    ut_held_allocated(&tables->held, workload, record->bytes);
    return UT_INGEST_ALLOCATED;
}

static enum ut_ingest_result ingest_held_back(struct ut_tables *tables,
                                              const struct ut_record_held_back *record,
                                              uint64_t unix_ns)
{
    bool known;
    if (!UT_RECORD_HELD_BACK_IS_TOLD(record->type))
        return UT_INGEST_BAD;
    uint32_t workload =
        ut_workloads_of_cgroup(&tables->workloads, record->header.cgroup_id, &known);
    ut_tables_held_back(tables, workload, record->type == UT_RECORD_CONNECTION, unix_ns);
    return UT_INGEST_HELD_BACK;
}

/* The record's bytes may be longer than this version knows, never shorter; of paths only the part
 * that is used need be there. */
static size_t least_size(uint8_t type)
{
    switch (type) {
    case UT_RECORD_RETRANSMIT:
        return sizeof(struct ut_record_retransmit);
    case UT_RECORD_CONNECTION:
        return sizeof(struct ut_record_connection);
    case UT_RECORD_CGROUP:
        return offsetof(struct ut_record_cgroup, path);
    case UT_RECORD_OOM_KILL:
        return sizeof(struct ut_record_oom_kill);
    case UT_RECORD_STALL:
        return sizeof(struct ut_record_stall);
    case UT_RECORD_RESET:
    case UT_RECORD_ZERO_WINDOW:
    case UT_RECORD_RECEIVE_DROP:
    case UT_RECORD_LISTEN_OVERFLOW:
    case UT_RECORD_UNDO:
        return sizeof(struct ut_record_tcp);
    case UT_RECORD_TRACE_IDS:
        return sizeof(struct ut_record_trace_ids);
    case UT_RECORD_ALLOCATED:
        return sizeof(struct ut_record_allocated);
    case UT_RECORD_HELD_BACK:
        return sizeof(struct ut_record_held_back);
    default:
        return SIZE_MAX;
    }
}

enum ut_ingest_result ut_ingest_record(struct ut_tables *tables, const void *data, size_t size,
                                       int64_t unix_offset_ns, uint64_t now_ns)
{
    /* A copy: the bytes in the ring have no alignment of ours, and are not ours. */
    union {
        struct ut_record_header header;
        struct ut_record_retransmit retransmit;
        struct ut_record_connection connection;
        struct ut_record_cgroup cgroup;
        struct ut_record_oom_kill oom_kill;
        struct ut_record_stall stall;
        struct ut_record_tcp tcp;
        struct ut_record_trace_ids trace_ids;
        struct ut_record_allocated allocated;
        struct ut_record_held_back held_back;
    } record;
    if (size < sizeof(record.header))
        return UT_INGEST_BAD;
    memcpy(&record, data, size < sizeof(record) ? size : sizeof(record));
    const struct ut_record_header *header = &record.header;
    uint64_t unix_ns = unix_time(header->boot_ns, unix_offset_ns, now_ns);
    if (header->size > size || header->version != UT_RECORD_VERSION ||
        header->size < least_size(header->type) || unix_ns == 0)
        return UT_INGEST_BAD;
    size = header->size < sizeof(record) ? header->size : sizeof(record);
    tables->version++;
    switch (header->type) {
    case UT_RECORD_RETRANSMIT:
        return ingest_retransmit(tables, &record.retransmit, unix_ns);
    case UT_RECORD_CONNECTION:
        return ingest_connection(tables, &record.connection, unix_ns);
    case UT_RECORD_OOM_KILL:
        return ingest_oom_kill(tables, &record.oom_kill, unix_ns);
    case UT_RECORD_STALL:
        return ingest_stall(tables, &record.stall, unix_ns);
    case UT_RECORD_RESET:
    case UT_RECORD_ZERO_WINDOW:
    case UT_RECORD_RECEIVE_DROP:
    case UT_RECORD_LISTEN_OVERFLOW:
    case UT_RECORD_UNDO:
        return ingest_tcp(tables, &record.tcp, unix_ns);
    case UT_RECORD_TRACE_IDS:
        return ingest_trace_ids(tables, &record.trace_ids);
    case UT_RECORD_ALLOCATED:
        return ingest_allocated(tables, &record.allocated, unix_ns);
    case UT_RECORD_HELD_BACK:
        return ingest_held_back(tables, &record.held_back, unix_ns);
    default:
        return ingest_cgroup(tables, &record.cgroup, size, unix_ns);
    }
}
