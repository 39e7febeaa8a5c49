/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loop of vm2-sftp: packets from standard input, replies to standard output. */
#include "provision/session/sftp.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Replies are written once no whole request waits, or there are so many bytes of them. */
#define OUT_MAX (SFTP_PACKET_MAX / 2)

/* One packet and what came of the next. */
struct input {
	uint8_t data[2 * (SFTP_PACKET_MAX + 4)];
	size_t at, len;
};

static size_t packet_len(const uint8_t *p)
{
	return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

static int flush(struct sftp *s)
{
	size_t at = 0;

	while (at < s->out_len) {
		ssize_t n = write(1, s->out + at, s->out_len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += (size_t)n;
	}
	s->out_len = 0;
	return 0;
}

/* Serve all whole packets that are there. */
static int serve(struct sftp *s, struct input *in)
{
	while (in->len - in->at >= 4) {
		size_t len = packet_len(in->data + in->at);

		if (len == 0 || len > SFTP_PACKET_MAX)
			return -1;
		if (in->len - in->at - 4 < len)
			return 0;
		if (sftp_serve(s, in->data + in->at + 4, len) != 0)
			return -1;
		in->at += 4 + len;
		if (s->out_len >= OUT_MAX && flush(s) != 0)
			return -1;
	}
	return 0;
}

static ssize_t fill(struct input *in)
{
	ssize_t n;

	if (in->at > 0) {
		in->len -= in->at;
		__builtin_memmove(in->data, in->data + in->at, in->len);
		in->at = 0;
	}
	do
		n = read(0, in->data + in->len, sizeof(in->data) - in->len);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		in->len += (size_t)n;
	return n;
}

static bool has_word(char *const argv[], const char *word)
{
	while (*argv && strcmp(*argv, word))
		argv++;
	return *argv;
}

int main(int argc, char **argv)
{
	static struct input in;
	static struct sftp s;
	ssize_t n;

	signal(SIGPIPE, SIG_IGN);
	sftp_setup(&s);
	s.no_uploads = argc > 1 && has_word(argv + 1, SFTP_NO_UPLOADS);
	s.no_downloads = argc > 1 && has_word(argv + 1, SFTP_NO_DOWNLOADS);
	while ((n = fill(&in)) > 0)
		if (serve(&s, &in) != 0 || flush(&s) != 0)
			break;
	sftp_close_all(&s);
	/* The client has gone as it should at the end of a packet; all else is its fault or the line's. */
	return n == 0 && in.at == in.len ? EXIT_SUCCESS : EXIT_FAILURE;
}
