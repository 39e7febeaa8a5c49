/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The wire process: libssh, and what the parts of this program share. All that it knows came from
 * the network or from its monitor; all that it wants done it asks of the monitor (docs/GATEWAY).
 * One thread, one loop; its callbacks run inside libssh's packet handling.
 */
#ifndef VM2_GATEWAY_WIRE_H
#define VM2_GATEWAY_WIRE_H

#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <poll.h>
#include <stdbool.h>

#include "gateway/proof.h"
#include "provision/api/msg.h"

/* Of a pipe this much is read at a time: four packets, which libssh writes to the network in two pieces. */
#define WIRE_READ_MAX 131072

/* libssh's windows: 1.25 MiB (0.10) or 2 MiB; and a packet of which the first bytes were inside. */
#define WIRE_WINDOW_MAX ((2UL << 20) + 32768)

/* Bytes on their way that could not be delivered yet: data from `at` on is what is left. */
struct held {
	struct buf data;
	size_t at;
};

/* Host keys: one of each type (gateway/settings.c). */
#define WIRE_HOST_KEYS_MAX 3

/* One channel: a session's, or that of a forwarded connection. */
struct channel {
	struct channel *next;
	struct wire *wire;
	ssh_channel ssh;
	struct ssh_channel_callbacks_struct callbacks;
	uint64_t number;   /* the monitor's name for it */
	struct msg open;   /* the request to the monitor, collected from env and pty requests */
	unsigned int envs; /* how many variables are in it */
	bool pty, opened;  /* a terminal was asked for; the request was sent */
	bool input_eof;	   /* the client will send no more */
	bool input_waits;  /* libssh holds input that the pipe did not take */
	bool input_gone;   /* nobody reads it: throw it away */
	bool output_eof;   /* we have sent our end of file */
	bool closed;	   /* the client closed the channel */
	bool ended;	   /* the monitor told how the session ended */
	int in, out, err;  /* pipes to and from the session, or -1 */
	struct held input;
	struct held output[2]; /* [1]: stderr */
	const struct pollfd *polled; /* what it was waited for last: so many of them */
	int n_polled;
	uint64_t status;
	char signal[16]; /* empty: it ended with status */
	bool core;

	/* Of a forwarded connection: in and out are one socket of the guest's, twice. */
	bool forward;
	bool connected; /* it has its socket */
	bool opening; /* it came from the guest, and the client has not taken it yet */
	bool agent;   /* it is for the client's ssh-agent */
	bool x11;     /* it is for the client's X server */
	char *origin, *target;
	uint16_t origin_port, target_port;
};

/* A port of the guest's that is forwarded to the client. */
struct listener {
	struct listener *next;
	uint64_t id;	/* the monitor's name for it */
	char *host;	/* as the client named it */
	uint16_t asked; /* the port that the client asked for; 0: any */
	uint16_t port;	/* where it listens; 0: not yet, or not at all */
	bool waits;	/* the monitor has not answered yet */
	bool up;	/* it listens */
	bool agent;	/* it is a socket for the client's ssh-agent: no host, no port */
	bool x11;	/* it is a display; host is the cookie that the client sent */
	bool single;	/* it is for one connection */
};

/* The connection. */
struct wire {
	ssh_session session;
	ssh_event event;
	struct ssh_server_callbacks_struct callbacks;
	int link;	/* the socket to the monitor */
	int connection; /* the network */
	ssh_bind bind;	/* keys and algorithms, until there is a connection */
	const char *host_keys[WIRE_HOST_KEYS_MAX];
	struct proof_host host; /* for verifiers: what counts here */
	char *user;
	char *offered; /* the key that the monitor accepted last */
	bool authenticated;
	bool no_pty; /* the key allows no terminal */
	bool finished; /* the connection is to be ended */
	const char *broke; /* what of the protocol the client broke, or NULL */
	bool tapped;   /* packets are looked at (wire_tap.c) */
	bool sockets;  /* it has asked for a socket of the guest's: packets are looked at always */
	uint64_t calm_bytes; /* of the connection when this span of time began */
	int64_t calm_until;  /* and its end, by clock_ms() */
	bool calm;	     /* there were few bytes in the last one */
	bool stalled;  /* libssh took nothing, for a key exchange: wait for its next packet */
	struct channel *channels;
	uint64_t last_number;
	unsigned int n_sessions, n_forwards, n_listeners;
	uint64_t max_sessions, max_forwards;
	char *banner;		/* what is shown before a login, or NULL */
	char *accept_env;	/* patterns of variables that a client may set; its plan's come with the login */
	uint64_t alive;		/* seconds of silence until the client is asked; 0: never */
	struct ssh_counter_struct traffic; /* bytes of the connection */
	uint64_t heard_bytes;	/* that had come when it was last heard */
	int64_t heard;		/* when that was, by clock_ms() */
	unsigned int questions; /* asked since */
	struct listener *listeners;
	struct pollfd *fds; /* room for all that wire.c may wait for */
	char *bytes;	    /* of a pipe, on their way to libssh: WIRE_READ_MAX of them */
};

/*
 * wire_nursery.c: fork a process for each message that comes on the link: its descriptors are the socket
 * to the monitor, which takes the link's place there, and the leash. Returns 0 in each of these processes;
 * in the first it does not return, unless it cannot begin (-errno). A message on a leash has a verifier
 * forked, for the socket in it.
 */
int wire_nursery(int link, const struct proof_host *host, struct err *err);

/* wire_verify.c: in a process forked for it, answer the one question on the link. Returns an exit status. */
int wire_verify(int link, const struct proof_host *host);

/* wire_warm.c: have libssh do all that it does at its first connection. */
void wire_warm(ssh_bind bind);

/* So many are made by one. */
#define WIRE_BORN_MAX 100

/* wire_link.c: end the connection of a client that breaks the protocol; why is a constant. */
void wire_break(struct wire *w, const char *why);

/* wire_auth.c: register what answers authentication requests. */
void wire_auth_setup(struct wire *w);

/* wire_peek.c: before anything is signed or verified. False: the library has no such functions. */
bool wire_peek_setup(void);

/* What passed so far was not of this connection. */
void wire_peek_forget(void);

/* Add what the monitor needs to have a signature verified: `session`; */
void wire_peek_session(struct msg *request);

/* the signature that libssh found right last, once: `signature`, of an authenticator `flags`, `counter`. */
void wire_peek_signature(struct msg *request);

/*
 * Ask the monitor and wait for its answer (before authentication only). 0 with an answer in reply,
 * or -errno; then the connection is finished.
 */
int wire_ask(struct wire *w, const struct msg *request, struct msg *reply);

/* wire_tap.c: before the sandbox closes. Where libssh has no such functions nothing is kept. */
void wire_tap_setup(void);

/* Look at the packets of the connection from now on, or no longer: it costs a copy of each. */
void wire_tap_watch(struct wire *w, bool on);

/*
 * In a callback of libssh's, about the packet that it handles: whether it is a request of this name on
 * a channel; the modes of a request for a terminal, "NUMBER=VALUE ..." (RFC 4254, 8), nothing when
 * they are not known; the path that a direct-streamlocal@openssh.com wants to be connected to.
 */
bool wire_tap_request(const char *name);
void wire_tap_modes(struct buf *ret);
bool wire_tap_socket(struct buf *ret);

/* What a client says of its X server; the texts are the caller's to free. */
struct wire_x11 {
	char *protocol, *cookie;
	uint16_t screen;
	bool single; /* for one connection */
};
bool wire_tap_x11(struct wire_x11 *ret);

/* Whether the client has said no-more-sessions@openssh.com. libssh keeps that itself since 0.11. */
bool wire_tap_no_more(void);

/* Tell the monitor; an error finishes the connection. */
void wire_tell(struct wire *w, const struct msg *request);

/* wire_channel.c: libssh's callback for a new session channel. */
ssh_channel wire_channel_new(ssh_session session, void *data);

/* A request on a channel that libssh has no function for. 0 when it was answered, 1 to refuse it. */
int wire_channel_message(struct wire *w, ssh_message message);

/* A new channel, forwarded or a session's; NULL when there are too many. */
struct channel *wire_channel_make(struct wire *w, bool forward);

/*
 * wire_forward.c: a request to connect, and one about a listener. 0 when it was answered, 1 when
 * it is to be refused.
 */
int wire_forward_open(struct wire *w, ssh_message message);
int wire_forward_global(struct wire *w, ssh_message message);

/* Have a socket in the guest for the client's ssh-agent. Whether there is one. */
bool wire_forward_agent(struct wire *w);

/* Have a display in the guest for the client's X server. Whether there is one. */
bool wire_forward_x11(struct wire *w, const struct wire_x11 *x);

/* Tell the monitor that a listener is not wanted any more. */
void wire_forward_unlisten(struct wire *w, uint64_t id);

/* What the monitor says about listeners and what arrives at them. */
void wire_forward_listening(struct wire *w, struct msg *m);
void wire_forward_refused(struct wire *w, struct msg *m);
void wire_forward_accepted(struct wire *w, struct msg *m);
void wire_forward_gone(struct wire *w);

/* Whether the client has the channel; offers it. One that it does not take is ended. */
bool wire_forward_ready(struct channel *c);

/* wire_relay.c: move what can be moved, without waiting, and end what has ended. */
void wire_relay(struct wire *w);

/*
 * What a channel waits for: its entries in an array of 3, which it looks at when it is relayed next.
 * Returns how many were filled in.
 */
int wire_relay_poll(struct channel *c, struct pollfd *ret_fds);

/* Input from libssh: how many bytes of it the channel took. */
uint32_t wire_relay_input(struct channel *c, const void *data, uint32_t len);

/* Put text for a person on a channel: on its standard error, or on the terminal when it has one. */
void wire_relay_text(struct channel *c, const char *text, bool as_error);

/* Release a channel and all that belongs to it; tells the client if it does not know. */
void wire_channel_free(struct channel *c);

/* wire_link.c: take the descriptors of a message for a channel that has none. */
void wire_channel_take(struct channel *c, struct msg *m);

/* Take one message from the monitor, after authentication. */
void wire_link_receive(struct wire *w);

#endif
