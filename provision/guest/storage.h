/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a guest's files live. A driver is a struct of functions; which one is a guest's is decided
 * when the guest is made, and stays. On disk all guests own their files by the ids 0..65535: mounts
 * shift them (mount_setattr(2), idmapped), so a template is shared as it is.
 *
 * In GUESTS, names that start with a dot are no guests:
 *   .NAME.new           files in the making (a fresh guest's, an import's, a restore's)
 *   .snapshots/NAME/S   a snapshot: the driver's tree, and `info` (snapshot.c)
 *   .trash              what is to be deleted, by vm2d's keeper
 *   .templates          copies of templates (btrfs)
 *   .empty              the lower layer of a guest that stands on no template
 *   .spare              what fresh files begin with, made ahead (overlay; layers.h)
 */
#ifndef VM2_GUEST_STORAGE_H
#define VM2_GUEST_STORAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "provision/base/config.h"
#include "provision/base/err.h"
#include "provision/base/str.h"
#include "provision/guest/guest.h"

/* Detached mounts of what a guest's root is put together from; -1 for none. */
struct storage_layers {
	int lower; /* the template's tree */
	int base;  /* the snapshot that the guest was restored to */
	int upper; /* the guest's own folder */
};

/* How many folders a guest's root is put together from at most. */
#define STORAGE_FOLDERS 3

/* The time in which a guest's processes stand still: called by save() at most once each. */
struct storage_pause {
	int (*begin)(struct storage_pause *pause, struct err *err);
	void (*end)(struct storage_pause *pause);
};

/* What a guest's own files take. */
struct storage_used {
	uint64_t bytes;
	uint64_t inodes; /* 0 where the driver counts none */
};

/* For looking at many guests' files: what is found out once. */
struct storage_view {
	int guests;		  /* the guests' folder, or -1 */
	char template[NAME_LEN_MAX + 1]; /* what was looked at last, */
	uint64_t shared;	  /* and how many bytes of it a guest's count holds */
	bool counted;		  /* there are quotas of projects */
};
void storage_view_open(const struct config *config, struct storage_view *ret);
void storage_view_close(struct storage_view *view);
#define CLEANUP_STORAGE_VIEW __attribute__((cleanup(storage_view_close)))

struct storage_driver {
	const char *name;
	bool hides_limit; /* statfs(2) shows all of the file system: answer.h */
	/* NULL when it can serve, else why not. Static text. */
	const char *(*probe)(const struct config *config);
	/* NULL when it can hold a guest to a size, else why not. Static text. */
	const char *(*probe_limit)(const struct config *config);
	/* The same of a number of inodes. */
	const char *(*probe_inodes)(const struct config *config);
	/* Make ahead what fresh files begin with, for make() to find; NULL where there is no such thing. */
	void (*prepare)(const struct config *config);
	/* Have the guest's files. *ret_fresh: this call made them. ERR_NOT_FOUND: no such template. */
	int (*make)(const struct config *config, const struct guest_spec *spec, bool *ret_fresh,
		    struct err *err);
	/* Delete them and all snapshots; fast, whatever their size. Not there is success. */
	int (*destroy)(const struct config *config, const char *name, struct err *err);
	/* On the host: open the layers, to be closed by the caller. */
	int (*open)(const struct config *config, const struct guest_spec *spec,
		    struct storage_layers *ret, struct err *err);
	/* On the host, when the guest's user namespace is there: shift their ids by its map. */
	int (*idmap)(const struct storage_layers *layers, int userns_fd, struct err *err);
	/*
	 * In the guest's user namespace, as its root, in a mount namespace that is not to stay, the
	 * working directory being the stage (inside.h): mount the guest's root at "root" in it, and
	 * what that is made of at "lower", "base" and "own".
	 */
	int (*mount)(const struct storage_layers *layers, struct err *err);

	/*
	 * On the host, to read in: the folders that the guest's root is put together from, the uppermost
	 * first; to be closed. How many, or -errno and none.
	 */
	int (*folders)(const struct config *config, const struct guest_spec *spec,
		       int ret[STORAGE_FOLDERS], struct err *err);

	/*
	 * Have the guest's files as they are at one instant in the existing, empty folder `to`.
	 * pause is NULL for a guest that does not run. *ret_bytes: what they take, 0 if not known.
	 */
	int (*save)(const struct config *config, const struct guest_spec *spec, const char *to,
		    struct storage_pause *pause, uint64_t *ret_bytes, struct err *err);
	/* Of a guest that does not run: make its files those of a snapshot, which stays. */
	int (*restore)(const struct config *config, const struct guest_spec *spec,
		       const char *snapshot, struct err *err);
	/* Whether the guest's files stand on the snapshot, so that it must stay. */
	bool (*stands_on)(const struct config *config, const char *name, const char *snapshot);
	/* Delete what save() made in `to` (GUESTS/.snapshots/NAME/S), and the folder. */
	int (*drop)(const struct config *config, const char *to, struct err *err);
	/*
	 * In a mount namespace of the caller's own: have what the guest sees of the snapshot
	 * mounted read-only on the folder `at`, ids as on disk.
	 */
	int (*view)(const struct config *config, const struct guest_spec *spec, const char *to,
		    const char *at, struct err *err);
	/*
	 * An import: make the place for a whole tree, to be filled; *ret is its path (free(3)).
	 * adopt() then makes it the guest's files.
	 */
	int (*place)(const struct config *config, const struct guest_spec *spec, char **ret,
		     struct err *err);
	int (*adopt)(const struct config *config, const struct guest_spec *spec, struct err *err);
	/* Hold the guest's own files to spec->limits.disk bytes and .inodes; 0 lifts it. */
	int (*limit)(const struct config *config, const struct guest_spec *spec, struct err *err);
	/*
	 * What counts against that, as the file system keeps it anyway: cheap, for lists. 0, or -errno
	 * where it is not counted.
	 */
	int (*used)(const struct config *config, struct storage_view *view,
		    const struct guest_spec *spec, struct storage_used *ret);
};

extern const struct storage_driver storage_overlay;
extern const struct storage_driver storage_btrfs;

/* The driver of that name, or NULL. */
const struct storage_driver *storage_find(const char *name);

/* Make ahead what the next new guests' files begin with. Best effort; for vm2d's keeper. */
void storage_prepare(const struct config *config);

/* A guest's driver: spec->driver; that which every guest had before there were two, when NULL. */
const struct storage_driver *storage_of(const struct guest_spec *spec);

/*
 * The driver for a new guest: what guest.storage names, or with "auto" btrfs where GUESTS is on
 * it, else overlay. NULL with the reason when it cannot serve.
 */
const struct storage_driver *storage_pick(const struct config *config, struct err *err);

/* NULL when the driver can hold a guest to what the limits ask for, else why not, with which. */
const char *storage_refuses(const struct storage_driver *driver, const struct config *config,
			    const struct limits *limits, const char **ret_limit);

/* --- what drivers share --- */

/* What a guest's hosts and resolv.conf are to be, by its plan and its addresses. */
struct files_text {
	struct buf hosts, resolv;
};

/* Put that together, on the host, whose own resolv.conf may be asked. */
void files_text(const struct config *config, const struct guest_spec *spec, struct files_text *ret);
void files_text_free(struct files_text *text);
#define CLEANUP_TEXT __attribute__((cleanup(files_text_free)))

/*
 * Have both be so, where they are still ours. For a guest that does not run; what cannot be written stays
 * as it is.
 */
void files_follow(const struct config *config, const struct guest_spec *spec);

/* Whether one of both is ours and says something else. Looks only: also while the guest runs. */
bool files_lag(const struct config *config, const struct guest_spec *spec, const struct files_text *text);

/* files_follow() for a guest that runs: by a process that is its root, in its namespaces. */
void files_follow_inside(const struct files_text *text);

/* GUESTS, made when missing: a descriptor, or -errno. */
int storage_open_guests(const struct config *config, struct err *err);

/* TEMPLATES/T/rootfs: a descriptor; ERR_NOT_FOUND is -ENOENT. A guest without one: GUESTS/.empty. */
int storage_open_template(const struct config *config, const char *template, struct err *err);

/* The template is gone: so are copies that a driver made of it. Best effort. */
void storage_forget_template(const struct config *config, const char *name);

/* A detached mount of a folder, without what is mounted below it. */
int storage_clone_tree(const char *path, struct err *err);

/* Move GUESTS/name out of the way, into .trash. Not there is success. 0 or -errno. */
int storage_discard(int guests, const char *name);

/* Whether there is something in .trash. */
bool storage_has_trash(const struct config *config);

/* Delete what is in .trash. 0 or -errno. For a process that may take its time. */
int storage_empty_trash(const struct config *config);

/*
 * Write what makes a fresh tree this guest's: hostname, hosts, resolv.conf and an empty machine-id,
 * into its folder "etc", over those of files_make_blank(). Only for a tree that no customer could touch
 * yet. 0 or -errno.
 */
int files_personalise(const struct config *config, const struct guest_spec *spec, int etc,
		      struct err *err);

/* These files, empty and root's alone, in a folder that has none of them. 0 or -errno. */
int files_make_blank(int etc);

/*
 * What guests of a template must not share is taken out of its tree, which nobody uses yet: SSH host
 * keys and D-Bus's id. 0 or -errno.
 */
int files_forget_identity(const char *tree);

/*
 * Where the template has an sshd, the guest gets host keys of its own into its folder "etc". Only for
 * a tree that no customer could touch yet.
 */
int files_host_keys(const struct guest_spec *spec, int template, int etc, struct err *err);

/* The same for a tree at `root` that a customer made: nothing in it is followed or kept. */
int files_personalise_again(const struct config *config, const struct guest_spec *spec,
			    const char *root, struct err *err);

#endif
