// SPDX-License-Identifier: MIT
/*
 * Keeps share.h. A thread does all talking: as the server it accepts the others and sends
 * each what it lacks; as a client it is connected to the server, tells it what the process
 * has and hears what others have. Messages are packets that carry one descriptor each.
 */
#include "share.h"

#include "runtime/util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_PEERS 64
#define FIRST_MS 2000		/* for what the server has when we come */
#define RETRY_MS 20
#define GRACE_MS 1000		/* for those whose server is gone to come to the next one */

/* unit: a number, or ALL: the sender has no more for now. */
struct message {
	struct linnet_hash128 name;
	uint64_t unit, bytes;
};
#define ALL UINT64_MAX

/* A descriptor, and what file it is of; or -1. */
struct file {
	int fd;
	dev_t dev;
	ino_t ino;
};

#define NO_FILE ((struct file){ .fd = -1 })

struct unit {
	struct linnet_share_unit u;
	struct file file;	/* -1: nobody has it, as far as we know */
	struct file next;	/* the server's copy, for when the unit is not in use */
	bool mapped, ours;
};

struct peer {
	int fd;
	size_t next;		/* of the list: what it has been told */
	bool told_all;
};

struct linnet_share {
	struct linnet_hash128 name;
	const struct linnet_share_ops *ops;
	struct linnet_engine *engine;
	char lock_path[4096];
	struct sockaddr_un address;
	pthread_t thread;
	bool started;
	int wake;			/* eventfd */
	int lock, listener;		/* of the server; -1 */
	uint64_t grace_end;		/* a clock time; 0: over */
	struct peer peer[MAX_PEERS];	/* the server's clients; a client's server is the first */
	size_t n_peers;

	/* what the lock guards */
	pthread_mutex_t mutex;
	pthread_cond_t heard;
	struct unit *unit;
	size_t n_units;
	size_t *list, n_list, cap_list;	/* units in the order in which we got to know them */
	bool stop, first;		/* first: the server has told all, or we are it */
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------------- messages */

static bool same_user(int fd)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) && cred.uid == geteuid();
}

/* 1, 0: the socket takes no more for now, -errno. */
static int send_message(int to, const struct message *m, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		h.msg_control = &control;
		h.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(to, &h, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return 1;
	/* ETOOMANYREFS: descriptors under way that nobody has picked up yet */
	return errno == EAGAIN || errno == EINTR || errno == ETOOMANYREFS ? 0 : -errno;
}

/* 1 and a message, *fd -1 or a descriptor; 0: nothing there; -errno: the peer is gone. */
static int receive_message(int from, struct message *m, int *fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c;
	ssize_t n;

	*fd = -1;
	n = recvmsg(from, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	if (n != sizeof(*m)) {
		if (*fd >= 0)
			close(*fd);
		return -EPIPE;
	}
	return 1;
}

/* --------------------------------------------------------------------------- units */

/* Note that a unit is to be had. Without memory for that it just is not passed on. */
static void list_unit(struct linnet_share *s, size_t i)
{
	if (s->n_list == s->cap_list) {
		size_t *more = realloc(s->list, (2 * s->cap_list + 64) * sizeof(*more));

		if (!more)
			return;
		s->list = more;
		s->cap_list = 2 * s->cap_list + 64;
	}
	s->list[s->n_list++] = i;
}

static void drop_file(struct file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	*f = NO_FILE;
}

static bool is_same(const struct file *a, const struct file *b)
{
	return a->fd >= 0 && b->fd >= 0 && a->dev == b->dev && a->ino == b->ino;
}

/* Some unit has the file already: this one, when it comes back to who gave it, or one that it is
 * not of. */
static bool is_known(const struct linnet_share *s, const struct file *f)
{
	for (size_t i = 0; i < s->n_units; i++)
		if (is_same(&s->unit[i].file, f) || is_same(&s->unit[i].next, f))
			return true;
	return false;
}

static bool identify(struct file *f, int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	*f = (struct file){ fd, st.st_dev, st.st_ino };
	return true;
}

/* Have a unit in what a file is of. */
static bool map(struct linnet_share *s, struct unit *u, struct file *f)
{
	if (!s->ops->take(s->engine, &u->u, f->fd))
		return false;
	u->mapped = true;
	u->ours = false;
	if (f != &u->file) {
		drop_file(&u->file);
		u->file = *f;
		*f = NO_FILE;
	}
	return true;
}

/*
 * A peer has a unit. from_server: of two copies the server's is the one that stays. It takes the
 * other's place at once where that can be: the bytes are the same.
 */
static void hear(struct linnet_share *s, const struct message *m, int fd, bool from_server)
{
	struct file f = NO_FILE;
	struct unit *u;

	pthread_mutex_lock(&s->mutex);
	u = m->unit < s->n_units ? &s->unit[m->unit] : NULL;
	if (!u || !identify(&f, fd) || is_known(s, &f) ||
	    !s->ops->is_sound(s->engine, &u->u, fd)) {
		f.fd = fd;
	} else if (u->file.fd < 0) {
		u->file = f;
		f = NO_FILE;
		list_unit(s, m->unit);
	} else if (from_server && u->mapped && s->ops->at_once) {
		map(s, u, &f);
	} else if (from_server) {
		struct file *to = u->mapped ? &u->next : &u->file;

		drop_file(to);
		*to = f;
		f = NO_FILE;
	}
	drop_file(&f);
	pthread_mutex_unlock(&s->mutex);
}

bool linnet_share_take(struct linnet_share *s, size_t unit)
{
	struct unit *u = &s->unit[unit];
	bool ok;

	pthread_mutex_lock(&s->mutex);
	ok = u->file.fd >= 0 && (u->mapped || map(s, u, &u->file));
	pthread_mutex_unlock(&s->mutex);
	return ok;
}

void linnet_share_give(struct linnet_share *s, size_t unit)
{
	struct unit *u = &s->unit[unit];
	uint64_t one = 1;
	struct file f;
	int fd;

	/* others may have been faster */
	if (linnet_share_take(s, unit))
		return;
	fd = s->ops->give(s->engine, &u->u);
	if (fd < 0)
		return;
	pthread_mutex_lock(&s->mutex);
	if (!identify(&f, fd))
		f = (struct file){ .fd = fd };
	u->mapped = true;
	if (u->file.fd >= 0 && map(s, u, &u->file)) {
		drop_file(&f);
	} else {
		if (u->file.fd < 0)
			list_unit(s, unit);
		drop_file(&u->file);
		u->file = f;
		u->ours = true;
	}
	pthread_mutex_unlock(&s->mutex);
	if (write(s->wake, &one, sizeof(one)) < 0)
		return;		/* the counter is full: the thread is awake */
}

void linnet_share_drop(struct linnet_share *s, size_t unit)
{
	struct unit *u = &s->unit[unit];

	pthread_mutex_lock(&s->mutex);
	if (u->mapped) {
		s->ops->drop(s->engine, &u->u);
		u->mapped = u->ours = false;
		drop_file(&u->file);
		drop_file(&u->next);
		for (size_t i = 0; i < s->n_list; i++)
			if (s->list[i] == unit) {
				/* the place in the list stays: peers count by it */
				s->list[i] = SIZE_MAX;
			}
	}
	pthread_mutex_unlock(&s->mutex);
}

int linnet_share_make(struct linnet_share *s, size_t unit, struct linnet_error *err)
{
	/* what was shared here cannot be written to */
	linnet_share_drop(s, unit);
	return s->ops->make(s->engine, &s->unit[unit].u, err);
}

void linnet_share_settle(struct linnet_share *s)
{
	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < s->n_units; i++) {
		struct unit *u = &s->unit[i];

		if (u->next.fd >= 0 && !map(s, u, &u->next))
			drop_file(&u->next);
	}
	pthread_mutex_unlock(&s->mutex);
}

void linnet_share_stats(struct linnet_share *s, struct linnet_share_stats *stats)
{
	*stats = (struct linnet_share_stats){ 0 };
	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < s->n_units; i++) {
		if (s->unit[i].mapped && s->unit[i].ours)
			stats->given += s->unit[i].u.bytes;
		else if (s->unit[i].mapped)
			stats->taken += s->unit[i].u.bytes;
	}
	stats->serving = s->listener >= 0;
	pthread_mutex_unlock(&s->mutex);
}

/* --------------------------------------------------------------------- the thread */

static void lose_peer(struct linnet_share *s, size_t i)
{
	close(s->peer[i].fd);
	s->peer[i] = s->peer[--s->n_peers];
}

static bool add_peer(struct linnet_share *s, int fd)
{
	if (s->n_peers == MAX_PEERS || !same_user(fd))
		return false;
	s->peer[s->n_peers++] = (struct peer){ .fd = fd };
	return true;
}

/* Tell a peer what it has not been told yet. False: it is gone. */
static bool tell(struct linnet_share *s, struct peer *p)
{
	struct message m = { .name = s->name };
	int ret = 1;

	pthread_mutex_lock(&s->mutex);
	while (p->next < s->n_list && ret == 1) {
		const size_t i = s->list[p->next];

		if (i != SIZE_MAX && s->unit[i].file.fd >= 0) {
			m.unit = i;
			m.bytes = s->unit[i].u.bytes;
			ret = send_message(p->fd, &m, s->unit[i].file.fd);
		}
		if (ret == 1)
			p->next++;
	}
	pthread_mutex_unlock(&s->mutex);
	if (ret == 1 && !p->told_all) {
		m.unit = ALL;
		m.bytes = 0;
		ret = send_message(p->fd, &m, -1);
		p->told_all = ret == 1;
	}
	return ret >= 0;
}

static void heard_all(struct linnet_share *s)
{
	pthread_mutex_lock(&s->mutex);
	s->first = true;
	pthread_cond_broadcast(&s->heard);
	pthread_mutex_unlock(&s->mutex);
}

/* What a peer says. False: it is gone, or not one of ours. */
static bool listen_to(struct linnet_share *s, const struct peer *p)
{
	struct message m;
	int fd, ret;

	while ((ret = receive_message(p->fd, &m, &fd)) == 1) {
		if (memcmp(&m.name, &s->name, sizeof(m.name))) {
			if (fd >= 0)
				close(fd);
			return false;
		}
		if (m.unit == ALL)
			heard_all(s);
		else if (fd >= 0)
			hear(s, &m, fd, s->listener < 0);
		if (m.unit == ALL && fd >= 0)
			close(fd);
	}
	return !ret;
}

static int open_lock(const struct linnet_share *s)
{
	return open(s->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Serve, when nobody does. */
static bool try_to_serve(struct linnet_share *s)
{
	int fd;

	s->lock = open_lock(s);
	if (s->lock < 0)
		return false;
	if (flock(s->lock, LOCK_EX | LOCK_NB))
		goto err_close;
	/* what the last server has left: its clients will come */
	s->grace_end = unlink(s->address.sun_path) ? 0 : now_ms() + GRACE_MS;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		goto err_close;
	if (bind(fd, (const struct sockaddr *)&s->address, sizeof(s->address)) || listen(fd, 16)) {
		close(fd);
		goto err_close;
	}
	pthread_mutex_lock(&s->mutex);
	s->listener = fd;
	pthread_mutex_unlock(&s->mutex);
	if (!s->grace_end)
		heard_all(s);
	return true;

err_close:
	close(s->lock);
	s->lock = -1;
	return false;
}

static bool try_to_connect(struct linnet_share *s)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false;
	if (!connect(fd, (const struct sockaddr *)&s->address, sizeof(s->address)) &&
	    add_peer(s, fd))
		return true;
	close(fd);
	return false;
}

static void accept_peers(struct linnet_share *s)
{
	int fd;

	while ((fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		if (!add_peer(s, fd))
			close(fd);
}

/* Wait for news, at most ms (-1: any time). */
static void wait_for_news(struct linnet_share *s, int ms)
{
	struct pollfd f[MAX_PEERS + 2];
	uint64_t ignored;
	nfds_t n = 0;

	f[n++] = (struct pollfd){ .fd = s->wake, .events = POLLIN };
	f[n++] = (struct pollfd){ .fd = s->listener, .events = POLLIN };
	for (size_t i = 0; i < s->n_peers; i++) {
		bool more;

		pthread_mutex_lock(&s->mutex);
		more = s->peer[i].next < s->n_list || !s->peer[i].told_all;
		pthread_mutex_unlock(&s->mutex);
		f[n++] = (struct pollfd){ .fd = s->peer[i].fd,
					  .events = (short)(more ? POLLIN | POLLOUT : POLLIN) };
	}
	if (poll(f, n, ms) > 0 && f[0].revents)
		if (read(s->wake, &ignored, sizeof(ignored)) < 0)
			return;
}

static void *talk(void *arg)
{
	struct linnet_share *s = arg;
	bool stop = false;

	while (!stop) {
		int ms = -1;

		if (s->listener < 0 && !s->n_peers && !try_to_serve(s) && !try_to_connect(s))
			ms = RETRY_MS;
		if (s->listener >= 0)
			accept_peers(s);
		for (size_t i = 0; i < s->n_peers;) {
			if (!listen_to(s, &s->peer[i]) || !tell(s, &s->peer[i]))
				lose_peer(s, i);
			else
				i++;
		}
		/* a client without a server tries at once to be one */
		if (s->listener < 0 && !s->n_peers && ms < 0)
			ms = 0;
		if (s->grace_end && now_ms() >= s->grace_end) {
			s->grace_end = 0;
			heard_all(s);
		}
		wait_for_news(s, s->grace_end ? RETRY_MS : ms);
		pthread_mutex_lock(&s->mutex);
		stop = s->stop;
		pthread_mutex_unlock(&s->mutex);
	}
	return NULL;
}

/* ------------------------------------------------------------------------ beginning */

static int set_paths(struct linnet_share *s, const char *dir, struct linnet_error *err)
{
	struct stat st;
	int n, fd;

	if (stat(dir, &st) || !S_ISDIR(st.st_mode))
		return linnet_err(err, -ENOTDIR, "%s: not a folder to share weights by", dir);
	if (st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH))
		return linnet_err(err, -EPERM,
				  "%s: a folder to share weights by has to be the user's "
				  "own, and nobody else may write to it (mode, %o)",
				  dir, st.st_mode & 07777);
	s->address.sun_family = AF_UNIX;
	n = snprintf(s->address.sun_path, sizeof(s->address.sun_path), "%s/linnet-%016llx%016llx",
		     dir, (unsigned long long)s->name.v[1], (unsigned long long)s->name.v[0]);
	if (n < 0 || (size_t)n >= sizeof(s->address.sun_path))
		return linnet_err(err, -ENAMETOOLONG, "%s: the path is too long for a socket", dir);
	snprintf(s->lock_path, sizeof(s->lock_path), "%s.lock", s->address.sun_path);
	/* who can make none can neither serve nor be found */
	fd = open_lock(s);
	if (fd < 0)
		return linnet_err(err, -errno,
				  "%s: cannot make a file to share weights by: %s", s->lock_path,
				  strerror(errno));
	close(fd);
	return 0;
}

static int start_thread(struct linnet_share *s)
{
	sigset_t all, old;
	int ret;

	/* signals are the program's affair */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&s->thread, NULL, talk, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	s->started = !ret;
	return -ret;
}

int linnet_share_open(struct linnet_share **out, const char *dir, struct linnet_hash128 name,
		      const struct linnet_share_ops *ops, struct linnet_engine *e,
		      const struct linnet_share_unit *unit, size_t n_units,
		      struct linnet_error *err)
{
	struct linnet_share *s = calloc(1, sizeof(*s));
	struct timespec until;
	pthread_condattr_t attr;
	int ret;

	if (!s)
		return linnet_err(err, -ENOMEM, "%s: out of memory", dir);
	s->lock = s->listener = -1;
	s->name = name;
	s->ops = ops;
	s->engine = e;
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&s->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->heard, &attr);
	pthread_condattr_destroy(&attr);
	s->unit = calloc(n_units + 1, sizeof(*s->unit));
	ret = s->wake < 0 || !s->unit ? linnet_err(err, -ENOMEM, "%s: out of memory", dir) :
	      set_paths(s, dir, err);
	if (ret)
		goto err_close;
	s->n_units = n_units;
	for (size_t i = 0; i < n_units; i++)
		s->unit[i] = (struct unit){ .u = unit[i], .file = NO_FILE, .next = NO_FILE };
	ret = start_thread(s);
	if (ret) {
		linnet_err(err, ret, "%s: cannot start a thread: %s", dir, strerror(-ret));
		goto err_close;
	}
	/* what is there need not be read */
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FIRST_MS / 1000;
	pthread_mutex_lock(&s->mutex);
	while (!s->first && !pthread_cond_timedwait(&s->heard, &s->mutex, &until))
		;
	pthread_mutex_unlock(&s->mutex);
	*out = s;
	return 0;

err_close:
	linnet_share_close(s);
	return ret;
}

void linnet_share_close(struct linnet_share *s)
{
	uint64_t one = 1;

	if (!s)
		return;
	if (s->started) {
		pthread_mutex_lock(&s->mutex);
		s->stop = true;
		pthread_mutex_unlock(&s->mutex);
		while (write(s->wake, &one, sizeof(one)) < 0 && errno == EINTR)
			;
		pthread_join(s->thread, NULL);
	}
	/* with others about, the socket's name stays: whoever serves next waits for them */
	if (s->listener >= 0 && !s->n_peers)
		unlink(s->address.sun_path);
	if (s->listener >= 0)
		close(s->listener);
	while (s->n_peers)
		lose_peer(s, 0);
	if (s->lock >= 0)
		close(s->lock);
	if (s->wake >= 0)
		close(s->wake);
	for (size_t i = 0; i < s->n_units; i++) {
		drop_file(&s->unit[i].file);
		drop_file(&s->unit[i].next);
	}
	pthread_cond_destroy(&s->heard);
	pthread_mutex_destroy(&s->mutex);
	free(s->list);
	free(s->unit);
	free(s);
}
