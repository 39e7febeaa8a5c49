/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a guest's files live. A driver is a struct of functions; there is one so far. On disk all
 * guests own their files by the ids 0..65535: mounts shift them (mount_setattr(2), idmapped), so
 * a template is shared as it is.
 */
#ifndef VM2_GUEST_STORAGE_H
#define VM2_GUEST_STORAGE_H

#include <stdbool.h>

#include "provision/base/config.h"
#include "provision/base/err.h"
#include "provision/guest/guest.h"

/* Detached mounts of what a guest's root is put together from; -1 for none. */
struct storage_layers {
	int lower; /* the template's tree */
	int upper; /* the guest's own folder */
};

struct storage_driver {
	const char *name;
	/* NULL when it can serve, else why not. Static text. */
	const char *(*probe)(const struct config *config);
	/* Have the guest's files. *ret_fresh: this call made them. ERR_NOT_FOUND: no such template. */
	int (*make)(const struct config *config, const struct guest_spec *spec, bool *ret_fresh,
		    struct err *err);
	/* Delete them. Not there is success. */
	int (*destroy)(const struct config *config, const char *name, struct err *err);
	/* On the host: open the layers, to be closed by the caller. */
	int (*open)(const struct config *config, const struct guest_spec *spec,
		    struct storage_layers *ret, struct err *err);
	/* On the host, when the guest's user namespace is there: shift their ids by its map. */
	int (*idmap)(const struct storage_layers *layers, int userns_fd, struct err *err);
	/*
	 * In the guest's user and mount namespaces, as its root, the working directory being an
	 * empty tmpfs: mount the guest's root at "root" in it.
	 */
	int (*mount)(const struct storage_layers *layers, struct err *err);
};

extern const struct storage_driver storage_overlay;

/*
 * Write what makes a fresh tree this guest's: hostname, hosts, resolv.conf and an empty machine-id,
 * into its folder "etc". Only for a tree that no customer could touch yet. 0 or -errno.
 */
int files_personalise(const struct config *config, const struct guest_spec *spec, int etc,
		      struct err *err);

#endif
