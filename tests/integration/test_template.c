/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where templates come from, that they stay what they were, and what guests of one do not share. */
#include <stdio.h>
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(template, .timeout = 600);

#define TEMPLATES "/var/lib/vm2/templates"

/* The smallest system: busybox, something that looks like an sshd, and keys that nobody may share. */
static void tree_ready(void)
{
	host_ready();
	ok("test -d /var/tmp/tree || { mkdir -p /var/tmp/tree.new && cd /var/tmp/tree.new && mkdir -p bin "
	   "etc/ssh usr/sbin root proc sys dev tmp var/lib/dbus run && cp /bin/busybox bin/busybox && "
	   "for n in sh ls cat id hostname; do ln -s busybox bin/$n; done && "
	   "echo root:x:0:0::/root:/bin/sh >etc/passwd && echo root:x:0: >etc/group && "
	   "cp bin/busybox usr/sbin/sshd && echo shared >etc/ssh/ssh_host_ed25519_key && "
	   "echo 0123456789abcdef0123456789abcdef | tee etc/machine-id >var/lib/dbus/machine-id && "
	   "mknod dev/null c 1 3 && chown 5:6 root && mv /var/tmp/tree.new /var/tmp/tree; }");
}

static void works(const char *template)
{
	ok("vm2 tenant add t-%s --template %s && vm2 guest start t-%s && "
	   "test $(vm2 guest exec t-%s -- id -u) = 0 && "
	   "test $(vm2 guest exec t-%s -- busybox stat -c %%u:%%g /root) = 5:6",
	   template, template, template, template, template);
}

static void gone(const char *template)
{
	ok("vm2 tenant remove t-%s --yes && vm2 template remove %s --yes && ! ls -A " TEMPLATES
	   " | grep -F %s",
	   template, template, template);
}

static void nothing_made(const char *name)
{
	ok("! ls -A " TEMPLATES " | grep -F %s", name);
	assert_status(sh("vm2 template verify %s", name), 3);
}

Test(template, from_a_tarball_however_compressed)
{
	static const char *const how[] = { "", "--gzip", "--xz", "--bzip2", "--zstd" };

	tree_ready();
	for (size_t i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
		ok("tar -C /var/tmp/tree %s -cf /var/tmp/t.tar . && vm2 template import tar%zu /var/tmp/t.tar",
		   how[i], i);
		ok("vm2 template list --json | jq -e '.[] | select(.name == \"tar%zu\").digest | "
		   "test(\"^sha256:[0-9a-f]{64}$\")'", i);
		ok("! test -e " TEMPLATES "/tar%zu/rootfs/dev/null", i);
	}
	works("tar1");
	assert_status(sh("vm2 template remove tar1 --yes"), 5);
	gone("tar1");
	/* The same tree has the same digest, whatever it came in. */
	ok("test $(vm2 template list --json | jq -r '.[] | select(.name | startswith(\"tar\")).digest' | "
	   "sort -u | wc -l) = 1");
	ok("cat /var/tmp/t.tar | vm2 template import piped -");
	assert_status(sh("vm2 template import piped /var/tmp/t.tar"), 6);
	/* Cut short, or nothing of the kind. */
	ok("head -c 100000 /var/tmp/t.tar >/var/tmp/cut.tar");
	assert_status(sh("vm2 template import bad /var/tmp/cut.tar"), 1);
	assert_status(sh("vm2 template import bad /etc/passwd"), 1);
	assert_status(sh("vm2 template import bad /root"), 2);
	/* A host's own system, which a copy in it would be part of; and what is wrong is said once. */
	assert_has(sh("vm2 template import bad /").err, "own templates: copy");
	cr_assert_str_eq(sh("vm2 template import bad /etc/passwd").err,
			 "vm2: the archive cannot be read: Unrecognized archive format\n");
	nothing_made("bad");
}

/* Writes an image layout of three layers to /var/tmp/oci, as skopeo does. */
static const char image[] =
	"import hashlib, io, json, os, tarfile, gzip\n"
	"top = '/var/tmp/oci'\n"
	"os.makedirs(top + '/blobs/sha256', exist_ok=True)\n"
	"def blob(data, kind):\n"
	"    h = hashlib.sha256(data).hexdigest()\n"
	"    open(top + '/blobs/sha256/' + h, 'wb').write(data)\n"
	"    return {'mediaType': 'application/vnd.oci.image.' + kind, 'digest': 'sha256:' + h, 'size': len(data)}\n"
	"def layer(add, gz=True):\n"
	"    b = io.BytesIO(); t = tarfile.open(fileobj=b, mode='w'); add(t); t.close()\n"
	"    d = b.getvalue()\n"
	"    return blob(gzip.compress(d) if gz else d, 'layer.v1.tar' + ('+gzip' if gz else ''))\n"
	"def put(t, name, text=b''):\n"
	"    i = tarfile.TarInfo(name); i.size = len(text); t.addfile(i, io.BytesIO(text))\n"
	"def base(t):\n"
	"    t.add('/var/tmp/tree', '.'); put(t, 'etc/old'); put(t, 'opt/a/below'); put(t, 'etc/x', b'1')\n"
	"def second(t):\n"
	"    put(t, 'opt/a/above'); put(t, 'opt/a/.wh..wh..opq'); put(t, 'etc/.wh.old'); put(t, 'etc/x', b'2')\n"
	"layers = [layer(base), layer(second, False), layer(lambda t: put(t, 'etc/third'))]\n"
	"m = {'schemaVersion': 2, 'config': blob(b'{}', 'config.v1+json'), 'layers': layers}\n"
	"m = blob(json.dumps(m).encode(), 'manifest.v1+json')\n"
	"json.dump({'schemaVersion': 2, 'manifests': [m]}, open(top + '/index.json', 'w'))\n"
	"json.dump({'imageLayoutVersion': '1.0.0'}, open(top + '/oci-layout', 'w'))\n"
	"print(layers[1]['digest'][7:])\n";

Test(template, from_an_image)
{
	const char *second;

	tree_ready();
	second = ok("python3 - <<'E'\n%sE\n", image);
	ok("vm2 template import image /var/tmp/oci");
	ok("cd " TEMPLATES "/image/rootfs && ! test -e etc/old && ! test -e opt/a/below && test -e "
	   "opt/a/above && test $(cat etc/x) = 2 && test -e etc/third && ! find . -name '.wh*' | grep .");
	works("image");
	gone("image");
	/* Another image comes into the layout, as skopeo adds it, by its tag. */
	ok("cp -a /var/tmp/oci /var/tmp/oci3 && cd /var/tmp/oci3 && jq -c '.manifests[0].annotations = "
	   "{\"org.opencontainers.image.ref.name\": \"v1\"} | .manifests += [.manifests[0] | .digest = (\"sha256:\" + "
	   "\"0\" * 64) | .annotations |= map_values(\"v2\")]' index.json >x && mv x index.json");
	assert_has(sh("vm2 template import bad /var/tmp/oci3").err, "--image: v1, v2");
	assert_status(sh("vm2 template import bad /var/tmp/oci3 --image v3"), 1);
	assert_status(sh("vm2 template import bad /var/tmp/tree --image v1"), 2);
	ok("vm2 template import tagged /var/tmp/oci3 --image v1 && vm2 template remove tagged --yes");
	/* One bit of a layer, or a way out of the folder. */
	ok("cp -a /var/tmp/oci /var/tmp/oci2 && printf X | dd of=/var/tmp/oci2/blobs/sha256/%s bs=1 seek=600 "
	   "conv=notrunc 2>/dev/null", second);
	struct result r = sh("vm2 template import bad /var/tmp/oci2");
	assert_status(r, 1);
	assert_has(r.err, "altered");
	ok("cd /var/tmp/oci2/blobs/sha256 && mv %s /var/tmp/moved && ln -s /var/tmp/oci/blobs/sha256/%s %s",
	   second, second, second);
	assert_status(sh("vm2 template import bad /var/tmp/oci2"), 1);
	ok("rm /var/tmp/oci2/blobs/sha256/%s", second);
	r = sh("vm2 template import bad /var/tmp/oci2");
	assert_has(r.err, second);
	cr_assert_neq(r.status, 0);
	nothing_made("bad");
}

Test(template, stays_what_it_was)
{
	struct result r;

	tree_ready();
	ok("vm2 template import kept /var/tmp/tree && vm2 template verify kept");
	works("kept");
	ok("vm2 tenant remove t-kept --yes");
	/* Restored from a backup: another tree with the same files. */
	ok("cd " TEMPLATES "/kept && cp -a rootfs copy && rm -r rootfs && mv copy rootfs");
	works("kept");
	ok("vm2 tenant remove t-kept --yes");
	/* Something in it has changed: told, with its name; and no guest is made from a copy of it. */
	ok("echo evil:x:0:0::/:/bin/sh >>" TEMPLATES "/kept/rootfs/etc/passwd");
	r = sh("vm2 template verify kept");
	assert_status(r, 1);
	assert_has(r.err, "etc/passwd");
	ok("cd " TEMPLATES "/kept && cp -a rootfs copy && rm -r rootfs && mv copy rootfs");
	ok("vm2 tenant add t-kept --template kept");
	r = sh("vm2 guest start t-kept");
	assert_status(r, 1);
	assert_has(r.err, "etc/passwd");
	ok("vm2 tenant show t-kept --json | jq -e '.guest == \"none\"'");
	gone("kept");
}

/* Host keys and ids: each guest has its own. */
Test(template, guests_share_no_keys)
{
	tree_ready();
	ok("vm2 template import keyed /var/tmp/tree");
	ok("cd " TEMPLATES "/keyed/rootfs && ! ls etc/ssh | grep . && ! test -e var/lib/dbus/machine-id");
	ok("for n in ka kb; do vm2 tenant add $n --template keyed && vm2 guest start $n && "
	   "vm2 guest exec $n -- cat /etc/ssh/ssh_host_ed25519_key.pub >/var/tmp/$n && "
	   "vm2 guest exec $n -- busybox stat -c %%a%%u%%g /etc/ssh/ssh_host_ecdsa_key | grep -qx 60000 || "
	   "exit 1; done");
	ok("grep -q ^ssh-ed25519 /var/tmp/ka && ! cmp -s /var/tmp/ka /var/tmp/kb && grep -q root@ka /var/tmp/ka");
	ok("test -z \"$(vm2 guest exec ka -- cat /etc/machine-id | grep 0123456789abcdef)\"");
	ok("for n in ka kb; do vm2 tenant remove $n --yes; done; vm2 template remove keyed --yes");
}

/* What the builder is asked for is checked before it runs, and what fails leaves nothing. */
Test(template, what_cannot_be_built)
{
	static const char *const wrong[] = { "--suite 'Trixie!'", "--suite -x", "--variant 'a b'",
		"--variant --x", "--include 'vim;id'", "--mirror ftp://x", "--suite ''" };
	struct result r;

	host_ready();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_status(sh("vm2 template build built %s", wrong[i]), 2);
	r = sh("vm2 template build built --suite trixie --variant minbase --include vim,less "
	       "--mirror http://127.0.0.1:1/");
	assert_status(r, 1);
	assert_has(r.err, "\nvm2: cannot build the template built");
	assert_lacks(r.err, "\ntemplate-build: ");
	nothing_made("built");
	assert_has(sh("runuser -u nobody -- vm2 template import built /").err, ": it takes root\n");
}
