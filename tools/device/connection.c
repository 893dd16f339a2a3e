// SPDX-License-Identifier: MIT
/* A connection to a front end: messages in, replies out, kicks of the control queue. */
#include "device.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Receive a message. 1, 0 at the end of the connection, -errno. Descriptors that come
 * with it are in fds; those of a message that fails are closed.
 */
static int receive(int sock, struct vhost_user_message *m, int *fds, unsigned *n_fds)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * GUEST_MAX_REGIONS)];
		struct cmsghdr align;
	} control;
	struct iovec io = { m, VHOST_USER_HEADER };
	struct msghdr mh = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf) };
	size_t have;
	ssize_t n;
	int ret;

	*n_fds = 0;
	do
		n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		*n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), *n_fds * sizeof(int));
	}
	ret = -EPROTO;
	if (mh.msg_flags & MSG_CTRUNC)
		goto err_close;
	have = (size_t)n;
	while (have < VHOST_USER_HEADER || have < VHOST_USER_HEADER + m->size) {
		size_t want = VHOST_USER_HEADER;

		if (have >= want) {
			if (m->size > VHOST_USER_MAX_PAYLOAD)
				goto err_close;
			want += m->size;
		}
		n = recv(sock, (char *)m + have, want - have, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			ret = n ? -errno : -EPROTO;
			goto err_close;
		}
		have += (size_t)n;
	}
	return 1;

err_close:
	for (unsigned i = 0; i < *n_fds; i++)
		close(fds[i]);
	*n_fds = 0;
	return ret;
}

/* Send a reply, and fd, if there is one. */
static int reply(int sock, const struct vhost_user_message *m, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec io = { (void *)m, VHOST_USER_HEADER + m->size };
	struct msghdr mh = { .msg_iov = &io, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c = &control.align;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
		mh.msg_control = control.buf;
		mh.msg_controllen = sizeof(control.buf);
	}
	while (io.iov_len) {
		ssize_t n = sendmsg(sock, &mh, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		io.iov_base = (char *)io.iov_base + n;
		io.iov_len -= (size_t)n;
		mh.msg_control = NULL;
		mh.msg_controllen = 0;
	}
	return 0;
}

int device_connection(struct device *d, int fd)
{
	struct vq *control = &d->queue[VIRTIO_LINNET_CONTROLQ];
	struct vhost_user_message m;
	int fds[GUEST_MAX_REGIONS], ret = device_jobs_start(d);
	unsigned n_fds;
	uint64_t n;

	while (!ret) {
		struct pollfd p[2] = { { fd, POLLIN, 0 }, { -1, POLLIN, 0 } };

		if (vq_runs(control))
			p[1].fd = control->kick;
		if (poll(p, 2, -1) < 0) {
			ret = errno == EINTR ? 0 : -errno;
			continue;
		}
		if (p[1].revents) {
			if (!(p[1].revents & POLLIN) || read(control->kick, &n, sizeof(n)) <= 0)
				vq_close_fd(&control->kick);
			device_control(d);
		}
		if (!p[0].revents)
			continue;
		memset(&m, 0, sizeof(m));
		ret = receive(fd, &m, fds, &n_fds);
		if (ret == -EPROTO)
			device_say(d, "what came is no message of the vhost-user protocol");
		if (ret <= 0)
			break;
		ret = device_message(d, &m, fds, n_fds);
		if (ret == 1)
			ret = reply(fd, &m, d->reply_fd);
		/* a ring that was just set going may have something in it */
		if (!ret)
			device_control(d);
	}
	close(fd);
	return ret == -ECONNRESET ? 0 : ret;
}
