/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Published ports: a port of the host's that leads to a tenant's guest. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "provision/base/cleanup.h"
#include "provision/daemon/fence.h"
#include "provision/daemon/handlers.h"

#define PORT_MAX 65535

static int parse_number(struct request *r, const char *text, uint16_t *ret)
{
	uint64_t number = 0;

	if (parse_u64(text, PORT_MAX, &number) < 0 || number == 0)
		return err_set(&r->err, ERR_USAGE, "'%.20s' is no port: 1 to %d", text, PORT_MAX);
	*ret = (uint16_t)number;
	return 0;
}

/* HOSTPORT[:GUESTPORT] */
static int parse_ports(struct request *r, const char *text, struct store_port *p)
{
	char outer[8];
	size_t len = strcspn(text, ":");
	int n;

	if (len >= sizeof(outer))
		return err_set(&r->err, ERR_USAGE, "'%.20s' is no port: 1 to %d", text, PORT_MAX);
	memcpy(outer, text, len);
	outer[len] = '\0';
	n = parse_number(r, outer, &p->host_port);
	if (n == 0)
		n = parse_number(r, text[len] ? text + len + 1 : outer, &p->guest_port);
	return n;
}

static int parse(struct request *r, struct store_port *p)
{
	const char *tenant = NULL, *protocol = NULL, *port = NULL;
	int n = request_name(r, "tenant", &tenant);

	*p = (struct store_port){ 0 };
	if (n == 0)
		n = msg_need(&r->in, "protocol", &protocol, &r->err);
	if (n == 0)
		n = msg_need(&r->in, "port", &port, &r->err);
	if (n == 0 && strcmp(protocol, "tcp") && strcmp(protocol, "udp"))
		n = err_set(&r->err, ERR_USAGE, "'%.20s' is neither tcp nor udp", protocol);
	if (n == 0)
		n = parse_ports(r, port, p);
	if (n != 0)
		return n;
	snprintf(p->tenant, sizeof(p->tenant), "%s", tenant);
	snprintf(p->protocol, sizeof(p->protocol), "%s", protocol);
	return 0;
}

/* Whether a program of the host has the port: a published one would take it away. */
static bool host_has(const struct store_port *p, int family)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(p->host_port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(p->host_port) };
	int type = !strcmp(p->protocol, "tcp") ? SOCK_STREAM : SOCK_DGRAM, one = 1;
	CLEANUP_CLOSE int fd = socket(family, type | SOCK_CLOEXEC, 0);
	bool is_six = family == AF_INET6;

	if (fd < 0)
		return false;
	/* Connections that linger are no program's. */
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (is_six)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	return bind(fd, is_six ? (const struct sockaddr *)&six : (const struct sockaddr *)&four,
		       is_six ? sizeof(six) : sizeof(four)) < 0 &&
		errno == EADDRINUSE;
}

static int check_free(struct request *r, const struct store_port *p)
{
	struct store_port other;
	int n = store_port_get(r->store, p->protocol, p->host_port, &other, &r->err);

	if (n == 0)
		return err_set(&r->err, ERR_EXISTS,
			"%s port %u is published already: it leads to port %u of '%s'", p->protocol,
			p->host_port, other.guest_port, other.tenant);
	if (n != ERR_NOT_FOUND)
		return n;
	r->err = (struct err){ 0 };
	if (host_has(p, AF_INET) || host_has(p, AF_INET6))
		return err_set(&r->err, ERR_EXISTS,
			"%s port %u is the host's own: a program listens on it; choose another",
			p->protocol, p->host_port);
	return 0;
}

static int send_port(void *data, const struct store_port *p)
{
	CLEANUP_MSG struct msg row = { 0 };

	request_row_begin(&row);
	msg_add(&row, "tenant", p->tenant);
	msg_add(&row, "protocol", p->protocol);
	msg_add_u64(&row, "host_port", p->host_port);
	msg_add_u64(&row, "guest_port", p->guest_port);
	msg_add(&row, "address4", p->address4);
	msg_add(&row, "address6", p->address6);
	msg_add_i64(&row, "created", p->created);
	return request_row(data, &row);
}

/* In the database first: whoever restores the table meanwhile has the port in it. */
static int add(struct request *r, struct store_port *p)
{
	struct err why = { 0 };
	int n = store_port_add(r->store, p, &r->err);

	if (n == ERR_EXISTS)
		return check_free(r, p) ? r->err.code : ERR_EXISTS;
	if (n == 0)
		n = store_port_get(r->store, p->protocol, p->host_port, p, &r->err);
	if (n != 0)
		return n;
	n = fence_publish(r->config, p, true, &r->err);
	if (n != 0 && store_port_remove(r->store, p, &why) != 0)
		err_wrap(&r->err, "the port stays in the database (%s), but the kernel refused",
			why.text);
	return n;
}

int publish_add(struct request *r)
{
	struct store_port p;
	struct store_tenant t;
	int n = parse(r, &p);

	if (n == 0)
		n = store_tenant_get(r->store, p.tenant, &t, &r->err);
	if (n == 0)
		n = check_free(r, &p);
	if (n == 0 && !msg_get(&r->in, "dry_run"))
		n = add(r, &p);
	return n == 0 ? send_port(r, &p) : n;
}

int publish_list(struct request *r)
{
	const char *tenant = NULL;
	int n = msg_get(&r->in, "tenant") ? request_name(r, "tenant", &tenant) : 0;

	return n == 0 ? store_port_each(r->store, tenant, send_port, r, &r->err) : n;
}

/* Out of the database first: nobody puts it back. The connections that came by it end. */
int publish_remove(struct request *r)
{
	struct store_port p, there = { 0 };
	int n = parse(r, &p);

	if (n == 0 && strchr(msg_get(&r->in, "port"), ':'))
		n = err_set(&r->err, ERR_USAGE, "'%.20s' is no port: the host's alone says which",
			msg_get(&r->in, "port"));
	if (n == 0)
		n = store_port_get(r->store, p.protocol, p.host_port, &there, &r->err);
	if (n == 0 && strcmp(there.tenant, p.tenant))
		return err_set(&r->err, ERR_NOT_FOUND,
			"%s port %u is published for '%s', not for '%s'", p.protocol, p.host_port,
			there.tenant, p.tenant);
	if (n != 0 || msg_get(&r->in, "dry_run"))
		return n == 0 ? send_port(r, &there) : n;
	n = store_port_remove(r->store, &there, &r->err);
	if (n == 0)
		n = fence_publish(r->config, &there, false, &r->err);
	return n == 0 ? send_port(r, &there) : n;
}
