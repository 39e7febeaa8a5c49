/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-sftp: the sftp server of a guest that has none of its own. It runs inside, as the guest's root,
 * and gives nothing that a shell there would not. Version 3 (draft-ietf-secsh-filexfer-02), with the
 * extensions that OpenSSH's PROTOCOL (section 4) describes. libc only: it is linked statically.
 *
 * sftp_packet.c reads requests and writes replies, and touches no file; sftp_files.c does what is
 * asked, one function a request; sftp_list.c names what is there.
 */
#ifndef VM2_SESSION_SFTP_H
#define VM2_SESSION_SFTP_H

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* The longest packet, its length field not counted: what OpenSSH's client and server allow. */
#define SFTP_PACKET_MAX (256 * 1024)
/* The most file data in one packet, which leaves room for the rest of it. */
#define SFTP_DATA_MAX (SFTP_PACKET_MAX - 1024)
/* Words of its command line: what a plan forbids. */
#define SFTP_NO_UPLOADS "no-uploads"
#define SFTP_NO_DOWNLOADS "no-downloads"
/* Files and folders that may be open at once. */
#define SFTP_HANDLES_MAX 512
/* Strings and numbers that one request may hold. */
#define SFTP_PATHS 2
#define SFTP_NUMBERS 3

enum sftp_type {
	SFTP_INIT = 1, SFTP_VERSION = 2, SFTP_OPEN = 3, SFTP_CLOSE = 4, SFTP_READ = 5, SFTP_WRITE = 6,
	SFTP_LSTAT = 7, SFTP_FSTAT = 8, SFTP_SETSTAT = 9, SFTP_FSETSTAT = 10, SFTP_OPENDIR = 11,
	SFTP_READDIR = 12, SFTP_REMOVE = 13, SFTP_MKDIR = 14, SFTP_RMDIR = 15, SFTP_REALPATH = 16,
	SFTP_STAT = 17, SFTP_RENAME = 18, SFTP_READLINK = 19, SFTP_SYMLINK = 20, SFTP_STATUS = 101,
	SFTP_HANDLE = 102, SFTP_DATA = 103, SFTP_NAME = 104, SFTP_ATTRS = 105, SFTP_EXTENDED = 200,
	SFTP_EXTENDED_REPLY = 201,
};

enum sftp_status {
	SFTP_OK = 0, SFTP_EOF = 1, SFTP_NO_SUCH_FILE = 2, SFTP_PERMISSION_DENIED = 3, SFTP_FAILURE = 4,
	SFTP_BAD_MESSAGE = 5, SFTP_OP_UNSUPPORTED = 8,
};

/* Flags of an open, and of attributes: which of them are there. */
enum { SFTP_F_READ = 1, SFTP_F_WRITE = 2, SFTP_F_APPEND = 4, SFTP_F_CREAT = 8, SFTP_F_TRUNC = 16,
       SFTP_F_EXCL = 32 };
enum { SFTP_A_SIZE = 1, SFTP_A_OWNER = 2, SFTP_A_MODE = 4, SFTP_A_TIMES = 8 };

struct sftp_attrs {
	uint32_t flags; /* SFTP_A_* */
	uint64_t size;
	uint32_t uid, gid, mode, atime, mtime;
};

struct sftp;
struct sftp_request;
typedef int sftp_handler(struct sftp *s, const struct sftp_request *r);

/* A kind of request: its fields are those of sftp_decode(). */
struct sftp_kind {
	uint8_t type;
	const char *name;    /* of an extension, else NULL */
	const char *version; /* and what is announced of it */
	const char *fields;
	sftp_handler *handle;
};

/* A request, read. What its kind has no field for is zero. */
struct sftp_request {
	uint32_t id;
	const struct sftp_kind *kind; /* NULL: none that is known */
	char paths[SFTP_PATHS][PATH_MAX];
	uint64_t numbers[SFTP_NUMBERS];
	uint32_t handles[2];
	uint32_t flags;
	struct sftp_attrs attrs;
	const uint8_t *data; /* inside the packet */
	uint32_t data_len;
};

/* One open file or folder. */
struct sftp_open {
	int fd;	  /* -1: free */
	DIR *dir; /* a folder, which then has the descriptor */
};

struct sftp {
	uint8_t *out; /* replies that are not yet written */
	size_t out_len, out_cap;
	size_t packet; /* where the reply being made begins */
	bool replied;
	bool begun; /* the version is agreed on */
	bool no_uploads, no_downloads; /* no file is opened for writing, or for reading */
	struct sftp_request request; /* the one being served */
	struct sftp_open open[SFTP_HANDLES_MAX];
};

/* sftp_packet.c */

/*
 * Read the packet of len bytes at data (after its length field). Fields, one letter each, in order:
 * s a path, h a handle, q 64 bits, u 32 bits, d a string of data, a attributes. What stands after them
 * is ignored. 0; -EBADMSG when it is no whole request (its id is then the best guess);
 * -ENAMETOOLONG for a path longer than the kernel takes. An unknown kind is 0 with kind NULL.
 */
int sftp_decode(const struct sftp_kind *kinds, size_t n_kinds, const uint8_t *data, size_t len,
		struct sftp_request *ret);

/* Begin a reply of this type and id, and end it (its length is then known). */
void sftp_begin(struct sftp *s, uint8_t type, uint32_t id);
void sftp_finish(struct sftp *s);

void sftp_put8(struct sftp *s, uint8_t n);
void sftp_put32(struct sftp *s, uint32_t n);
void sftp_put64(struct sftp *s, uint64_t n);
void sftp_put_string(struct sftp *s, const void *data, size_t len);
void sftp_put_text(struct sftp *s, const char *text);
void sftp_put_attrs(struct sftp *s, const struct stat *st);

/* Room for len bytes at the end of what is to be written; they count once out_len is moved. */
uint8_t *sftp_room(struct sftp *s, size_t len);

/* A whole reply of type STATUS for an errno, 0 for done; -1 for the end of a file. */
void sftp_reply_status(struct sftp *s, uint32_t id, int error);

/* sftp_files.c */

/* All kinds of requests. */
extern const struct sftp_kind sftp_kinds[];
extern const size_t sftp_n_kinds;

void sftp_setup(struct sftp *s);
void sftp_close_all(struct sftp *s);

/* Serve one packet; its reply is appended to out. 0, or -EBADMSG when the client is to be left. */
int sftp_serve(struct sftp *s, const uint8_t *data, size_t len);

/* sftp_list.c: handlers for what is read of folders and names. */
sftp_handler sftp_opendir, sftp_readdir, sftp_realpath, sftp_expand_path, sftp_home, sftp_readlink;

/* sftp_files.c: put an open file into the table and reply with its handle. 0 or an errno. */
int sftp_reply_handle(struct sftp *s, uint32_t id, int fd, DIR *dir);

/* The open file or folder of this number, or NULL. */
struct sftp_open *sftp_find(struct sftp *s, uint32_t handle);

#endif
