/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libssh reads and hands to nobody: a terminal's modes, the path of a socket, the name of a
 * request that it does not know. Its public functions for those who look for faults do: they write
 * each packet, in the clear and before it is handled, to a "pcap file" (ssh_set_pcap_file()). Here
 * that is no file but a stream (fopencookie(3)) that keeps the beginning of the packet that came last:
 * so in a callback of libssh's the packet that it is about can be looked at.
 *
 * libssh opens the file by its name, and asks for the connection's addresses, which must be IPv4's, to
 * write them beside the packet. This program's own functions of those names are found first (ld.so(8))
 * and ask the kernel nothing: in the sandbox they could not. Where libssh was built without, or should
 * come to do it otherwise, no packet is kept, and what needs one is refused or left as it was.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "gateway/wire.h"
#include "provision/base/cleanup.h"
#include "provision/base/sshwire.h"

/* The name of the file that is none. */
#define NAME "vm2-gateway-wire: no file"

/* The file: a header, then records of a header and a packet of IP that holds one of TCP's. */
#define FILE_HEADER   24
#define RECORD_HEADER 16
#define LENGTH_AT     8
#define IP_HEADERS    40
#define SOURCE_AT     12

/* Addresses for both ends: by them a packet that came is told from one that goes. */
#define HERE  1
#define THERE 2

/* The longest that is looked at: modes, of 128 sorts at most, and a name. */
#define KEPT_MAX 2048

/* RFC 4254: numbers of messages. */
enum { GLOBAL_REQUEST = 80, CHANNEL_OPEN = 90, CHANNEL_REQUEST = 98 };

/* RFC 4254, 8: where a terminal's modes end. */
#define MODES_END 0
#define MODES_MAX 160

/* Not in struct wire: libssh calls what follows, and passes nothing of ours. */
static struct {
	ssh_pcap_file file;
	size_t skip;			       /* of the file's header, to come */
	unsigned char record[RECORD_HEADER + IP_HEADERS + KEPT_MAX];
	size_t have, want;		       /* of this record; want is 0 while its header comes */
	unsigned char packet[KEPT_MAX];	       /* the payload of the packet that came last */
	size_t len;
	bool no_more;
} tap;

static bool message(struct sshwire *w, uint8_t type)
{
	uint8_t is;

	*w = (struct sshwire){ tap.packet, tap.len };
	return sshwire_u8(w, &is) && is == type;
}

/* A packet has come: its length and padding before it, or the padding alone (RFC 4253, 6). */
static void keep(const unsigned char *bytes, size_t len, size_t whole)
{
	struct sshwire name;
	uint32_t length;
	size_t at = 0;

	tap.len = 0;
	if (len > 5) {
		memcpy(&length, bytes, sizeof(length));
		at = ntohl(length) + sizeof(length) == whole ? sizeof(length) : 0;
	}
	if (len < at + 2 || bytes[at] + at + 1 > whole)
		return;
	whole -= bytes[at] + at + 1;
	at++;
	tap.len = whole < len - at ? whole : len - at;
	memcpy(tap.packet, bytes + at, tap.len);
	if (message(&(struct sshwire){ 0 }, GLOBAL_REQUEST)) {
		struct sshwire w = { tap.packet + 1, tap.len - 1 };

		if (sshwire_string(&w, &name) && sshwire_is(&name, "no-more-sessions@openssh.com"))
			tap.no_more = true;
	}
}

static void end_record(void)
{
	uint32_t source;
	size_t len = tap.have < sizeof(tap.record) ? tap.have : sizeof(tap.record);

	memcpy(&source, tap.record + RECORD_HEADER + SOURCE_AT, sizeof(source));
	if (tap.want > RECORD_HEADER + IP_HEADERS && ntohl(source) == THERE)
		keep(tap.record + RECORD_HEADER + IP_HEADERS, len - RECORD_HEADER - IP_HEADERS,
		     tap.want - RECORD_HEADER - IP_HEADERS);
	tap.have = tap.want = 0;
}

/* Take what belongs to this record. How much that was. */
static size_t take(const char *bytes, size_t len)
{
	size_t most = (tap.want ? tap.want : RECORD_HEADER) - tap.have;
	size_t n = len < most ? len : most, room = sizeof(tap.record) - tap.have;
	uint32_t length;

	if (tap.have < sizeof(tap.record))
		memcpy(tap.record + tap.have, bytes, n < room ? n : room);
	tap.have += n;
	if (!tap.want && tap.have == RECORD_HEADER) {
		memcpy(&length, tap.record + LENGTH_AT, sizeof(length));
		tap.want = RECORD_HEADER + ntohl(length);
	}
	if (tap.want && tap.have == tap.want)
		end_record();
	return n;
}

static ssize_t on_write(void *cookie, const char *bytes, size_t len)
{
	size_t done = tap.skip < len ? tap.skip : len;

	tap.skip -= done;
	while (done < len)
		done += take(bytes + done, len - done);
	return (ssize_t)len;
}

/*
 * Found in place of libc's. By these names for the linker alone: headers say more of them than can be
 * said here (large files, unions).
 */
#define IN_PLACE_OF(name) __asm__(#name) __attribute__((visibility("default")))
FILE *tap_fopen(const char *path, const char *mode) IN_PLACE_OF(fopen);
FILE *tap_fopen64(const char *path, const char *mode) IN_PLACE_OF(fopen64);
int tap_getsockname(int fd, struct sockaddr *ret, socklen_t *len) IN_PLACE_OF(getsockname);
int tap_getpeername(int fd, struct sockaddr *ret, socklen_t *len) IN_PLACE_OF(getpeername);

FILE *tap_fopen(const char *path, const char *mode)
{
	static const cookie_io_functions_t stream = { .write = on_write };
	FILE *(*next)(const char *, const char *), *file;

	if (strcmp(path, NAME)) {
		/* As dlopen(3) has it: a function behind a pointer to no function. */
		*(void **)&next = dlsym(RTLD_NEXT, "fopen64");
		return next ? next(path, mode) : NULL;
	}
	file = fopencookie(NULL, mode, stream);
	if (file)
		setvbuf(file, NULL, _IONBF, 0);
	return file;
}

FILE *tap_fopen64(const char *path, const char *mode)
{
	return tap_fopen(path, mode);
}

static int address(struct sockaddr *ret, socklen_t *len, in_addr_t which)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(which) };

	memcpy(ret, &in, *len < sizeof(in) ? *len : sizeof(in));
	*len = sizeof(in);
	return 0;
}

int tap_getsockname(int fd, struct sockaddr *ret, socklen_t *len)
{
	return address(ret, len, HERE);
}

int tap_getpeername(int fd, struct sockaddr *ret, socklen_t *len)
{
	return address(ret, len, THERE);
}

void wire_tap_setup(void)
{
	tap.file = ssh_pcap_file_new();
	tap.skip = FILE_HEADER;
	if (tap.file && ssh_pcap_file_open(tap.file, NAME) != SSH_OK) {
		ssh_pcap_file_free(tap.file);
		tap.file = NULL;
	}
}

void wire_tap_watch(struct wire *w, bool on)
{
	if (on == w->tapped || !tap.file)
		return;
	tap.len = 0;
	w->tapped = ssh_set_pcap_file(w->session, on ? tap.file : NULL) == SSH_OK && on;
}

/* The request on a channel, of this name, that came last: what follows it is left in ret. */
static bool request(const char *name, struct sshwire *ret)
{
	struct sshwire is;
	uint32_t channel;
	uint8_t reply;

	return message(ret, CHANNEL_REQUEST) && sshwire_u32(ret, &channel) && sshwire_string(ret, &is) &&
	       sshwire_is(&is, name) && sshwire_u8(ret, &reply);
}

bool wire_tap_request(const char *name)
{
	return request(name, &(struct sshwire){ 0 });
}

void wire_tap_modes(struct buf *ret)
{
	struct sshwire w, term, modes;
	uint32_t skipped, value;
	uint8_t mode;

	if (!request("pty-req", &w) || !sshwire_string(&w, &term))
		return;
	for (int i = 0; i < 4; i++)
		if (!sshwire_u32(&w, &skipped))
			return;
	if (!sshwire_string(&w, &modes))
		return;
	while (sshwire_u8(&modes, &mode) && mode != MODES_END && mode < MODES_MAX &&
	       sshwire_u32(&modes, &value) && ret->len < KEPT_MAX)
		buf_printf(ret, "%s%u=%u", ret->len ? " " : "", mode, value);
}

/* PROTOCOL of OpenSSH, 2.4. */
bool wire_tap_socket(struct buf *ret)
{
	struct sshwire w, name, path;
	uint32_t skipped;

	if (!message(&w, CHANNEL_OPEN) || !sshwire_string(&w, &name) ||
	    !sshwire_is(&name, "direct-streamlocal@openssh.com"))
		return false;
	for (int i = 0; i < 3; i++)
		if (!sshwire_u32(&w, &skipped))
			return false;
	if (!sshwire_string(&w, &path) || memchr(path.at, '\0', path.left))
		return false;
	buf_add(ret, path.at, path.left);
	return path.left > 0;
}

static char *text(const struct sshwire *string)
{
	return xasprintf("%.*s", (int)string->left, (const char *)string->at);
}

/* RFC 4254, 6.3.1. */
bool wire_tap_x11(struct wire_x11 *ret)
{
	struct sshwire w, protocol, cookie;
	uint32_t screen;
	uint8_t single;

	if (!request("x11-req", &w) || !sshwire_u8(&w, &single) || !sshwire_string(&w, &protocol) ||
	    !sshwire_string(&w, &cookie) || !sshwire_u32(&w, &screen) || screen > UINT16_MAX)
		return false;
	*ret = (struct wire_x11){ text(&protocol), text(&cookie), (uint16_t)screen, single };
	return true;
}

bool wire_tap_no_more(void)
{
	return tap.no_more;
}
