/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of a connection: for logs, for counting by sender, and as evidence of who it is. */
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "receiver.h"

const char *ut_otlp_peer_text(char out[UT_OTLP_PEER_TEXT],
                              const struct ut_otlp_connection *connection)
{
    char address[UT_ADDRESS_TEXT];
    if (connection->sender.is_unix)
        (void)snprintf(out, UT_OTLP_PEER_TEXT, "peer=unix pid=%d uid=%u",
                       (int)connection->unix_peer.pid, connection->unix_peer.uid);
    else
        (void)snprintf(out, UT_OTLP_PEER_TEXT, "peer=%s port=%u",
                       ut_address_text(address, &connection->peer.address), connection->peer.port);
    return out;
}

struct ut_address ut_otlp_peer_key(const struct ut_otlp_connection *connection)
{
    struct ut_address key = connection->peer.address;
    if (connection->sender.is_unix) {
        memcpy(key.bytes, &connection->sender.cgroup_id, sizeof(uint64_t));
        memcpy(key.bytes + sizeof(uint64_t), &connection->unix_peer.uid, sizeof(uid_t));
    }
    return key;
}

struct ut_sender ut_otlp_peer_sender(int fd, const struct ut_unix_peer *peer,
                                     const struct ut_unix_allowed *forwarders)
{
    struct ut_sender sender = {.connected_boot_ns = ut_clock_boot_ns()};
    socklen_t size = sizeof(sender.socket_cookie);
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &sender.socket_cookie, &size) != 0)
        sender.socket_cookie = 0;
    if (peer != NULL) {
        sender.is_unix = true;
        sender.cgroup_id = peer->cgroup_id;
        sender.is_forwarder = ut_unix_peer_is_allowed(peer, fd, forwarders);
    }
    return sender;
}
