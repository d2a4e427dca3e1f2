/*
 * The yardstick for a round trip: the least that an echo server on libwebsockets can be, in C, on libuv as Dibs is.
 *
 *   echo_lws [--port 0] [--seconds 60] [--receive 4096]
 *
 * Listens on 127.0.0.1 only, prints {"event":"listening","port":…}, echoes every frame as it came (text or binary, whole
 * or in fragments), and ends by itself after that time with {"benchmark":"echo_lws",…}. `--receive` is the size of each
 * connection's receive buffer, which is most of what an idle one takes.
 */
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { FRAME = 4096 };

static unsigned long long connections, frames;

/* One frame that the socket did not take at once; until it has, no more is read from it. */
struct session {
    unsigned char *waiting; /* LWS_PRE bytes, then the frame; or NULL */
    size_t length;
    int flags;
};

static int echo(struct lws *wsi, unsigned char *payload, size_t length, int flags) {
    frames++;
    return lws_write(wsi, payload, length, (enum lws_write_protocol)flags) < (int)length ? -1 : 0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length) {
    struct session *session = user;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        connections++;
        session->waiting = NULL;
        return 0;
    case LWS_CALLBACK_RECEIVE: {
        int flags = lws_write_ws_flags(lws_frame_is_binary(wsi) ? LWS_WRITE_BINARY : LWS_WRITE_TEXT,
                                       lws_is_first_fragment(wsi),
                                       lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0);
        static unsigned char frame[LWS_PRE + FRAME];
        if (length > FRAME) return -1;
        if (!lws_send_pipe_choked(wsi)) {
            memcpy(frame + LWS_PRE, in, length);
            return echo(wsi, frame + LWS_PRE, length, flags);
        }
        session->waiting = malloc(LWS_PRE + length);
        if (session->waiting == NULL) return -1;
        memcpy(session->waiting + LWS_PRE, in, length);
        session->length = length;
        session->flags = flags;
        lws_rx_flow_control(wsi, 0);
        lws_callback_on_writable(wsi);
        return 0;
    }
    case LWS_CALLBACK_SERVER_WRITEABLE: {
        if (session->waiting == NULL) return 0;
        int status = echo(wsi, session->waiting + LWS_PRE, session->length, session->flags);
        free(session->waiting);
        session->waiting = NULL;
        lws_rx_flow_control(wsi, 1);
        return status;
    }
    case LWS_CALLBACK_CLOSED:
        free(session->waiting);
        session->waiting = NULL;
        return 0;
    default: return 0;
    }
}

static void end(uv_timer_t *timer) { uv_stop(timer->loop); }

int main(int count, char **arguments) {
    int port = 0, seconds = 60, receive = FRAME;
    for (int i = 1; i + 1 < count; i += 2) {
        if (strcmp(arguments[i], "--port") == 0) port = atoi(arguments[i + 1]);
        if (strcmp(arguments[i], "--seconds") == 0) seconds = atoi(arguments[i + 1]);
        if (strcmp(arguments[i], "--receive") == 0) receive = atoi(arguments[i + 1]);
    }
    if (count % 2 == 0 || port < 0 || port > 65535 || seconds < 1 || receive < 128 || receive > FRAME) {
        fprintf(stderr, "usage: echo_lws [--port P] [--seconds S] [--receive BYTES]\n");
        return 64;
    }
    alarm((unsigned)seconds + 30); /* whatever happens, it ends */

    const struct lws_protocols protocols[] = {
        {"echo", callback, sizeof(struct session), (size_t)receive, 0, NULL, 0}, {NULL, NULL, 0, 0, 0, NULL, 0}};
    struct lws_context_creation_info info;
    memset(&info, 0, sizeof info);
    info.port = port;
    info.iface = "127.0.0.1";
    info.protocols = protocols;
    info.gid = info.uid = -1; /* stay who we are */
    uv_loop_t *loop = uv_default_loop();
    void *loops[] = {loop};
    info.foreign_loops = loops;
    info.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DISABLE_IPV6 | LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    lws_set_log_level(LLL_ERR, NULL);
    struct lws_context *context = lws_create_context(&info);
    if (context == NULL) return 1;
    struct lws_vhost *host = lws_create_vhost(context, &info);
    if (host == NULL) return 1;
    printf("{\"event\":\"listening\",\"port\":%d}\n", lws_get_vhost_listen_port(host));
    fflush(stdout);

    uv_timer_t deadline;
    uv_timer_init(loop, &deadline);
    uv_timer_start(&deadline, end, (uint64_t)seconds * 1000, 0);
    uv_run(loop, UV_RUN_DEFAULT);
    printf("{\"benchmark\":\"echo_lws\",\"connections\":%llu,\"frames\":%llu}\n", connections, frames);
    return 0;
}
