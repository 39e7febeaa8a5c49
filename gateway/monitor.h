/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor: one per connection. It knows no SSH. Its wire process, which does, is treated as
 * hostile: each of its messages is looked up in one table (requests.c) and refused in a state that
 * the table does not name. docs/GATEWAY describes the messages.
 */
#ifndef VM2_GATEWAY_MONITOR_H
#define VM2_GATEWAY_MONITOR_H

#include <security/pam_appl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "provision/api/msg.h"
#include "provision/base/config.h"
#include "provision/base/keyopts.h"

/* The states of a connection, as bits: a request names those in which it is allowed. */
enum monitor_state {
	STATE_STARTING = 1,	 /* nothing is known */
	STATE_USER_KNOWN = 2,	 /* the user is named, once and for all */
	STATE_KEY_OFFERED = 4,	 /* and the key in `key` is one of theirs; nothing is proved */
	STATE_PROMPTING = 8,	 /* PAM waits for answers to its prompts */
	STATE_AUTHENTICATED = 16,
	STATE_ENDING = 32,	 /* the wire was told to end the connection: nothing is allowed */
};

/* How somebody may show who they are. */
enum method {
	METHOD_NONE,
	METHOD_KEY,
	METHOD_PASSWORD,
	METHOD_KBDINT,
};

/* What a login takes: one after the other, ended by METHOD_NONE; nothing named: any one. */
#define METHODS_MAX 2
struct sequence {
	const char *words; /* as the plan has it (provision/base/limits.h) */
	enum method steps[METHODS_MAX + 1];
};

/* A session in the guest, as the monitor sees it: vm2d's connection for it. */
struct session {
	struct session *next;
	uint64_t channel; /* the wire's number */
	int control;	  /* to vm2d, then to vm2-session */
	bool pty;
};

struct monitor {
	const struct config *config;
	enum monitor_state state;
	int wire;	/* the socket to the wire process */
	int leash;	/* closed, it ends the wire process (gateway/nursery.h) */
	int starting;	/* open until authenticated: the listener counts it */
	char source[64]; /* the client's address and port, "192.0.2.1:50000" */
	char local[64];
	char host[48]; /* the client's address alone */
	char *user;
	char *session_id; /* SSH's identifier of the session, base64: the wire's word, said once; or NULL */
	char *key;	  /* the accepted offer, word for word */
	char *credential; /* what let them in, for the records */
	char *key_credential;
	struct keyopts offered; /* what the offered key may do */
	struct keyopts may;	/* what they may who were let in with it */
	const struct sequence *sequence; /* NULL: not yet asked for */
	char *accept_env; /* variables that the client may set, by its plan; known with the sequence */
	unsigned int step;		 /* how many of it are done */
	bool decoy; /* PAM is asked as if it counted, but it is not its turn: no answer is right */
	uint64_t tries;
	int64_t deadline; /* of authentication, by clock_ms() */
	pam_handle_t *pam;
	bool pam_session;
	const char *password; /* what answers PAM's question during auth-password */
	struct buf notice;    /* what PAM had to say since it was last shown */
	bool conversing;      /* prompts may go to the client */
	struct msg interrupt; /* the request that came in place of answers, to be served next */
	uint64_t progress_channel; /* where PAM's words go while a session opens; 0: nowhere */
	bool progress_pty;
	struct session *sessions;
	uint64_t n_sessions;
	int forward; /* to the session that forwards ports, or -1 */
	uint64_t display; /* the listener in the guest that is the client's X server, or 0 */
	uint64_t display_port; /* and where it listens; 0: not yet */
	char *agent; /* the path in the guest of the socket of the client's ssh-agent, or NULL */
};

/* What a monitor begins with, from LAUNCH_FD_FIRST on: see monitor.c. */
#define MONITOR_FDS 4

/*
 * monitor_nursery.c: fork a monitor for each message on the link, whose descriptors it begins with, and
 * answer with its number. Returns in each of these; in the first it does not.
 */
void monitor_nursery(int link);

/* requests.c: look the request up, refuse or serve it. 0, or an error that ends the connection. */
int requests_serve(struct monitor *m, const struct msg *request, struct err *err);

/* Whether a request of this name would be allowed in a state. */
bool requests_allowed(const char *name, enum monitor_state state);

/* The name of row i of the table, or NULL after the last: for the test of docs/PRIVILEGES. */
const char *requests_name(size_t i);

/* Send to the wire. 0 or -errno. */
int monitor_send(struct monitor *m, const struct msg *message, struct err *err);

/* auth.c: the handlers of what comes before authentication. */
int auth_user(struct monitor *m, const struct msg *request, struct err *err);
int auth_none(struct monitor *m, const struct msg *request, struct err *err);
int auth_password(struct monitor *m, const struct msg *request, struct err *err);
int auth_key_offer(struct monitor *m, const struct msg *request, struct err *err);
int auth_key_proved(struct monitor *m, const struct msg *request, struct err *err);
int auth_kbdint_start(struct monitor *m, const struct msg *request, struct err *err);

/*
 * certificate.c: have a certificate, as the text of a key, read and its authority's signature verified,
 * in a process of its own. 0 with what it says in reply (gateway/certify.c): authentic, but whether the
 * authority counts is vm2d's to say. ERR_DENIED says what is wrong with it.
 */
int certificate_check(const struct monitor *m, const char *key, struct msg *reply, struct err *err);

/*
 * verify.c: have a signature of m->key verified, as message key-proved has it, in a process of its own. 0
 * when the key signed this user's login in this session; ERR_DENIED says what is wrong.
 */
int verify_signature(const struct monitor *m, const struct msg *proved, struct err *err);

/* pam.c: the PAM transaction of a connection. All return a PAM_* code, PAM_SUCCESS for done. */

/* Load the service's modules. Costs milliseconds: best done before there is a connection. */
int pam_prepare(struct monitor *m);

/* Have the modules stay loaded when a transaction ends: the process ends then anyway. */
void pam_keep(void);

/* pam_authenticate() for m->user; a PAM_SUCCESS for an account other than that is turned down. */
int pam_check(struct monitor *m);

/* pam_acct_mgmt(). */
int pam_account(struct monitor *m);

/* pam_open_session(), once; what it says goes to the channel that waits for it. */
int pam_session_open(struct monitor *m, uint64_t channel, bool pty);

/* Close the session if it was opened, and end the transaction. */
void pam_finish(struct monitor *m);

/* session.c: the handlers of what comes after authentication. */
int session_open(struct monitor *m, const struct msg *request, struct err *err);
int session_resize(struct monitor *m, const struct msg *request, struct err *err);
int session_signal(struct monitor *m, const struct msg *request, struct err *err);
int session_close(struct monitor *m, const struct msg *request, struct err *err);

/* Take one message from vm2d about a session; the session may be gone afterwards. */
void session_event(struct monitor *m, struct session *s);

/* Close all: their processes get SIGHUP. */
void session_close_all(struct monitor *m);

/* forward.c: ports that are forwarded into the guest, and from it. */
int forward_open(struct monitor *m, const struct msg *request, struct err *err);
int forward_listen(struct monitor *m, const struct msg *request, struct err *err);
int forward_unlisten(struct monitor *m, const struct msg *request, struct err *err);
int forward_agent(struct monitor *m, const struct msg *request, struct err *err);
int forward_x11(struct monitor *m, const struct msg *request, struct err *err);

/* The connection or listener of this number is over; one that is none is no error. */
void forward_drop(struct monitor *m, uint64_t id);

/* Take one message from the session that forwards. */
void forward_event(struct monitor *m);

/* session.c: show text on a channel. 0 or -errno. */
int session_text(struct monitor *m, uint64_t channel, const char *text, bool as_error);

#endif
