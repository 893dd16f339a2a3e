// SPDX-License-Identifier: MIT
/* Keeps serve.h. */
#include "serve.h"
#include "sandbox.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct guest {
	pid_t pid;		/* 0: none */
	unsigned number;
};

struct server {
	const struct serve_options *opts;
	int listener, signals;
	sigset_t old_mask;
	unsigned n_guests, n_served;
	int last;		/* how the last one ended: 0 or -errno */
	struct guest guest[];
};

/* The guest of this process, for what it says. */
struct teller {
	const struct serve_options *opts;
	unsigned number;
};

__attribute__((format(printf, 3, 4)))
static int say(const struct serve_options *opts, int ret, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	opts->say(ret < 0, line);
	return ret;
}

static void say_of_guest(void *ctx, const char *line)
{
	const struct teller *t = ctx;

	say(t->opts, 0, "guest %u: %s", t->number, line);
}

/* ------------------------------------------------------- a guest's process */

static void memory_gone(int sig)
{
	static const char text[] = "linnet: device: a guest's memory is gone, its file was cut\n";

	if (write(2, text, sizeof(text) - 1) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_FAILURE);
}

static int serve_guest(struct server *s, int fd, unsigned number)
{
	const struct sigaction gone = { .sa_handler = memory_gone };
	struct teller teller = { s->opts, number };
	struct device_options opts = s->opts->device;
	struct device *d;
	const char *why;
	int ret;

	/* who serves nobody any more ends; the one who runs the daemon decides about SIGINT */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGBUS, &gone, NULL);
	sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
	opts.say = say_of_guest;
	opts.say_ctx = &teller;
	ret = device_create(&d, &opts, &why);
	if (ret)
		return say(s->opts, ret, "guest %u: %s: %s", number, why, strerror(-ret));
	ret = sandbox_enter(s->opts->sandbox, &why);
	if (ret)
		say(s->opts, ret, "guest %u: %s: %s", number, why, strerror(-ret));
	else
		ret = device_connection(d, fd);
	if (ret)
		say_of_guest(&teller, "the connection is closed");
	device_destroy(d);
	return ret;
}

/* ------------------------------------------------------------- the server */

static void accept_guest(struct server *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	struct guest *g = s->guest;
	pid_t pid;

	if (fd < 0)
		return;
	while (g->pid)
		g++;
	g->number = ++s->n_served;
	pid = fork();
	if (!pid) {
		close(s->listener);
		close(s->signals);
		_exit(serve_guest(s, fd, g->number) ? EXIT_FAILURE : EXIT_SUCCESS);
	}
	if (pid < 0) {
		say(s->opts, -errno, "cannot start a process for a guest: %s", strerror(errno));
	} else {
		g->pid = pid;
		s->n_guests++;
		say(s->opts, 0, "guest %u: connected (process %d)", g->number, (int)pid);
		if (s->n_guests == s->opts->max_guests && !s->opts->once)
			say(s->opts, 0, "others wait until one of these %u has left (--max-guests)",
			    s->n_guests);
	}
	close(fd);
}

static void reap(struct server *s)
{
	int status;

	for (unsigned i = 0; i < s->opts->max_guests; i++) {
		struct guest *g = &s->guest[i];

		if (!g->pid || waitpid(g->pid, &status, WNOHANG) != g->pid)
			continue;
		if (WIFSIGNALED(status))
			say(s->opts, 0, "guest %u: left, its process was ended by signal %d (%s)",
			    g->number, WTERMSIG(status), strsignal(WTERMSIG(status)));
		else if (WEXITSTATUS(status))
			say(s->opts, 0, "guest %u: left, with a failure (status, %d)", g->number,
			    WEXITSTATUS(status));
		else
			say(s->opts, 0, "guest %u: left", g->number);
		s->last = WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
		g->pid = 0;
		s->n_guests--;
	}
}

/* What lies at the path is ours to remove when it is a socket that nobody listens on. */
static int remove_stale(const struct serve_options *opts, const struct sockaddr_un *a)
{
	struct stat st;
	int fd, ret;

	if (lstat(a->sun_path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return say(opts, -EEXIST, "%s: it exists and is not a socket (--socket-path)",
			   opts->path);
	/* of another kind than who listens there, who is not to see it: EPROTOTYPE then */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return say(opts, -errno, "cannot make a socket: %s", strerror(errno));
	ret = connect(fd, (const void *)a, sizeof(*a)) ? -errno : -EADDRINUSE;
	close(fd);
	if (ret == -EACCES)
		return say(opts, ret, "%s: it is another user's (--socket-path)", opts->path);
	if (ret != -ECONNREFUSED)
		return say(opts, ret, "%s: it is in use (--socket-path)", opts->path);
	if (unlink(a->sun_path))
		return say(opts, -errno, "%s: cannot be removed: %s", opts->path, strerror(errno));
	return 0;
}

static int open_listener(const struct serve_options *opts)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, ret;

	if (!opts->path) {
		int on = 0;
		socklen_t n = sizeof(on);

		if (getsockopt(opts->fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) || !on)
			return say(opts, -EINVAL, "not a socket that listens (--fd, %d)", opts->fd);
		return opts->fd;
	}
	if (strlen(opts->path) >= sizeof(a.sun_path))
		return say(opts, -ENAMETOOLONG, "%s: the path is longer than %zu bytes "
			   "(--socket-path)", opts->path, sizeof(a.sun_path) - 1);
	strcpy(a.sun_path, opts->path);
	ret = remove_stale(opts, &a);
	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return say(opts, -errno, "cannot make a socket: %s", strerror(errno));
	/* for the same user alone */
	mask = umask(0177);
	ret = bind(fd, (const void *)&a, sizeof(a)) || listen(fd, 8) ? -errno : 0;
	umask(mask);
	if (ret) {
		say(opts, ret, "%s: cannot be listened on: %s (--socket-path)", opts->path,
		    strerror(-ret));
		close(fd);
		return ret;
	}
	return fd;
}

/* Be another user from here on, without the groups and rights that there were. */
static int become_user(const struct serve_options *opts)
{
	const struct passwd *p;

	if (!opts->user)
		return 0;
	errno = 0;
	p = getpwnam(opts->user);
	if (!p)
		return say(opts, errno ? -errno : -ENOENT, "%s: no such user (--user)", opts->user);
	if (opts->path && lchown(opts->path, p->pw_uid, p->pw_gid))
		return say(opts, -errno, "%s: cannot be given to %s: %s (--user)", opts->path,
			   opts->user, strerror(errno));
	if (setgroups(0, NULL) || setgid(p->pw_gid) || setuid(p->pw_uid))
		return say(opts, -errno, "cannot become %s: %s (--user)", opts->user,
			   strerror(errno));
	return 0;
}

/* End the processes of all guests that are left. */
static void end_guests(struct server *s)
{
	for (unsigned i = 0; i < s->opts->max_guests; i++) {
		if (!s->guest[i].pid)
			continue;
		kill(s->guest[i].pid, SIGTERM);
		while (waitpid(s->guest[i].pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
}

/* What would fail for each guest fails at the start. */
static int check_level(const struct serve_options *opts, struct linnet_kernels *k)
{
	const char *level = opts->device.level;
	int ret = linnet_kernels_init(k, level);

	if (!ret)
		return 0;
	return say(opts, ret, ret == -EINVAL ? "no such level of kernels (LINNET_CPU, %s)" :
		   "this CPU lacks the level of kernels (LINNET_CPU, %s)", level ? level : "");
}

int device_serve(const struct serve_options *opts)
{
	const unsigned threads = opts->device.n_threads;
	struct linnet_kernels kernels;
	struct signalfd_siginfo info;
	struct server *s;
	sigset_t mask;
	bool end = false;
	int ret;

	ret = check_level(opts, &kernels);
	if (ret)
		return ret;
	s = calloc(1, sizeof(*s) + opts->max_guests * sizeof(s->guest[0]));
	if (!s)
		return say(opts, -ENOMEM, "out of memory");
	s->opts = opts;
	sigemptyset(&mask);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, &s->old_mask);
	s->signals = signalfd(-1, &mask, SFD_CLOEXEC);
	if (s->signals < 0) {
		ret = say(opts, -errno, "cannot wait for signals: %s", strerror(errno));
		goto err_free;
	}
	s->listener = open_listener(opts);
	if (s->listener < 0) {
		ret = s->listener;
		goto err_signals;
	}
	ret = become_user(opts);
	if (ret)
		end = true;
	else if (opts->path)
		say(opts, 0, "waiting for guests at %s (%s, threads for each: %u)", opts->path,
		    kernels.isa, threads ? threads : linnet_pool_cores());
	while (!end) {
		struct pollfd p[2] = { { s->signals, POLLIN, 0 }, { s->listener, POLLIN, 0 } };
		const bool room = s->n_guests < opts->max_guests && !(opts->once && s->n_served);

		if (poll(p, room ? 2 : 1, -1) < 0 && errno != EINTR) {
			ret = say(opts, -errno, "cannot wait: %s", strerror(errno));
			break;
		}
		if (p[0].revents & POLLIN &&
		    read(s->signals, &info, sizeof(info)) == sizeof(info)) {
			end = info.ssi_signo != SIGCHLD;
			reap(s);
		}
		if (room && p[1].revents & POLLIN)
			accept_guest(s);
		if (opts->once && s->n_served && !s->n_guests) {
			ret = s->last;
			break;
		}
	}
	end_guests(s);
	close(s->listener);
	if (opts->path)
		unlink(opts->path);
err_signals:
	close(s->signals);
err_free:
	sigprocmask(SIG_SETMASK, &s->old_mask, NULL);
	free(s);
	return ret;
}
