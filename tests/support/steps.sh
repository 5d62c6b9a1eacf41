# SPDX-License-Identifier: Apache-2.0
# Steps of a script that a person watches: "step n of m", what it does, and the time it took.
# Sourced by tests/run and deploy/try, which set `steps_total` and may set `steps_log`.
#
#   step TITLE COMMAND…       its output goes to the log and is shown only when it fails
#   step_live TITLE COMMAND…  its output goes to the terminal; of the last step that succeeds it is
#                             the end, no time comes after it
# Both return the command's status.

steps_total=${steps_total:-1}
steps_log=${steps_log:-/dev/null}
steps_done=0

steps_seconds()
{
    local now=${EPOCHREALTIME/[.,]/}
    local tenths=$(((now - $1) / 100000))
    printf '%d.%d s' $((tenths / 10)) $((tenths % 10))
}

step()
{
    local title=$1 status=0 start=${EPOCHREALTIME/[.,]/} output
    shift
    steps_done=$((steps_done + 1))
    printf 'step %d of %d: %s … ' "$steps_done" "$steps_total" "$title"
    output=$(mktemp "${TMPDIR:-/tmp}/undertrace-step.XXXXXX")
    "$@" >"$output" 2>&1 </dev/null || status=$?
    cat "$output" >>"$steps_log"
    if ((status == 0)); then
        printf '%s\n' "$(steps_seconds "$start")"
    else
        printf 'failed after %s\n' "$(steps_seconds "$start")"
        tail -n 60 "$output" | sed 's/^/    /'
    fi
    rm -f "$output"
    return "$status"
}

step_live()
{
    local title=$1 status=0 start=${EPOCHREALTIME/[.,]/}
    shift
    steps_done=$((steps_done + 1))
    printf 'step %d of %d: %s\n' "$steps_done" "$steps_total" "$title"
    "$@" </dev/null || status=$?
    if ((status == 0)); then
        ((steps_done == steps_total)) ||
            printf 'step %d of %d: %s\n' "$steps_done" "$steps_total" "$(steps_seconds "$start")"
    else
        printf 'step %d of %d: failed after %s\n' "$steps_done" "$steps_total" \
            "$(steps_seconds "$start")"
    fi
    return "$status"
}
