// SPDX-License-Identifier: MIT
/*
 * runtime/memory/share.h: processes have the same memory, with the right bytes in it,
 * whoever came first, whoever serves and whoever dies; memory files, and buffers of a make of
 * their own that have the rules of those of a device.
 */
#include "runtime/memory/share.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNITS 6
#define TWIN 2			/* as large as the first */
#define PAGE 4096u

static char dir[] = "/tmp/linnet-share-XXXXXX";
static struct linnet_error err;
static const struct linnet_hash128 name = { { 7, 9 } };
static const size_t pages[UNITS] = { 3, 600, 3, 512, 40, 1025 };

/* A process's units: memory of its own until it shares them. */
struct mine {
	struct linnet_share *s;
	struct linnet_share_unit unit[UNITS];
	struct linnet_region region;
	size_t bytes;

	/* of buffers */
	pthread_t owner;
	int buffer[UNITS];
	bool fails;
	int wrong;		/* calls against the rules */
};

static char *address(const struct mine *m, size_t unit)
{
	return m->region.addr + m->unit[unit].at;
}

static unsigned char byte_of(size_t unit, size_t at)
{
	return (unsigned char)((unit * 131 + at * 2654435761u) >> 13);
}

static bool is_right(const struct mine *m, size_t unit)
{
	const unsigned char *p = (const unsigned char *)address(m, unit);

	for (size_t i = 0; i < m->unit[unit].bytes; i += 61)
		if (p[i] != byte_of(unit, i))
			return false;
	return true;
}

static void fill(struct mine *m, size_t unit)
{
	unsigned char *p = (unsigned char *)address(m, unit);

	for (size_t i = 0; i < m->unit[unit].bytes; i++)
		p[i] = byte_of(unit, i);
}

/* ------------------------------------------------------------------------ buffers */

/*
 * A file whose seals are these is a buffer, of this device. A process has it once, whatever
 * unit it is for, and exchanges it only where no other thread may see that.
 */
#define BUFFER_SEALS F_SEAL_SHRINK

static int count_buffer(const struct mine *m, int fd)
{
	struct stat a, b;
	int n = 0;

	if (fstat(fd, &a))
		return 0;
	for (size_t i = 0; i < UNITS; i++)
		n += m->buffer[i] >= 0 && !fstat(m->buffer[i], &b) && a.st_ino == b.st_ino;
	return n;
}

static size_t number(const struct mine *m, const struct linnet_share_unit *u)
{
	size_t i = 0;

	while (m->unit[i].at != u->at)
		i++;
	return i;
}

static bool buffer_is_sound(struct linnet_engine *e, const struct linnet_share_unit *u, int fd)
{
	struct stat st;

	return fcntl(fd, F_GET_SEALS) == BUFFER_SEALS && !fstat(fd, &st) &&
	       (uint64_t)st.st_size == u->bytes;
}

static void put_buffer(struct mine *m, size_t i, int fd, int prot)
{
	if (mmap(address(m, i), m->unit[i].bytes, prot, MAP_SHARED | MAP_FIXED, fd, 0) ==
	    MAP_FAILED)
		exit(1);
	if (m->buffer[i] >= 0)
		close(m->buffer[i]);
	m->buffer[i] = fd;
}

static bool buffer_take(struct linnet_engine *e, const struct linnet_share_unit *u, int fd)
{
	struct mine *m = (struct mine *)e;

	m->wrong += !pthread_equal(pthread_self(), m->owner) || count_buffer(m, fd);
	if (m->fails)
		return false;
	put_buffer(m, number(m, u), dup(fd), PROT_READ);
	return true;
}

static int buffer_make(struct linnet_engine *e, const struct linnet_share_unit *u,
		       struct linnet_error *error)
{
	struct mine *m = (struct mine *)e;
	int fd;

	if (m->fails)
		return -ENOMEM;
	if (m->buffer[number(m, u)] >= 0)
		return 0;
	fd = memfd_create("buffer", MFD_ALLOW_SEALING);
	if (ftruncate(fd, (off_t)u->bytes) || fcntl(fd, F_ADD_SEALS, BUFFER_SEALS))
		exit(1);
	put_buffer(m, number(m, u), fd, PROT_READ | PROT_WRITE);
	return 0;
}

static int buffer_give(struct linnet_engine *e, const struct linnet_share_unit *u)
{
	struct mine *m = (struct mine *)e;

	if (m->fails || mprotect(m->region.addr + u->at, u->bytes, PROT_READ))
		return -1;
	return dup(m->buffer[number(m, u)]);
}

static void buffer_drop(struct linnet_engine *e, const struct linnet_share_unit *u)
{
	struct mine *m = (struct mine *)e;
	const size_t i = number(m, u);

	if (mmap(address(m, i), u->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		exit(1);
	close(m->buffer[i]);
	m->buffer[i] = -1;
}

static const struct linnet_share_ops buffers = {
	.is_sound = buffer_is_sound,
	.take = buffer_take,
	.make = buffer_make,
	.give = buffer_give,
	.drop = buffer_drop,
};

/* ---------------------------------------------------------------------- processes */

static const struct linnet_share_ops *ops = &linnet_share_memfd;

static bool start(struct mine *m)
{
	memset(m, 0, sizeof(*m));
	m->owner = pthread_self();
	for (size_t i = 0; i < UNITS; i++)
		m->bytes += pages[i] * PAGE;
	m->region.addr = mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			      -1, 0);
	m->region.huge = true;
	m->bytes = 0;
	for (size_t i = 0; i < UNITS; i++) {
		m->unit[i] = (struct linnet_share_unit){ &m->region, m->bytes, pages[i] * PAGE };
		m->buffer[i] = -1;
		m->bytes += pages[i] * PAGE;
	}
	return !linnet_share_open(&m->s, dir, name, ops, (struct linnet_engine *)m, m->unit, UNITS,
				  &err);
}

static void end(struct mine *m)
{
	linnet_share_close(m->s);
	munmap(m->region.addr, m->bytes);
	for (size_t i = 0; i < UNITS; i++)
		if (m->buffer[i] >= 0)
			close(m->buffer[i]);
}

static void have_own(struct mine *m, size_t unit)
{
	if (linnet_share_make(m->s, unit, &err))
		exit(1);
	fill(m, unit);
}

/* Have all units; returns how many came from others. */
static int have_all(struct mine *m)
{
	int taken = 0;

	for (size_t i = 0; i < UNITS; i++) {
		if (linnet_share_take(m->s, i)) {
			taken++;
			continue;
		}
		have_own(m, i);
		linnet_share_give(m->s, i);
	}
	return taken;
}

static bool all_right(const struct mine *m)
{
	for (size_t i = 0; i < UNITS; i++)
		if (!is_right(m, i))
			return false;
	return true;
}

/* The file that is mapped at an address, 0: none. */
static unsigned long inode_at(const void *addr)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long from, to, inode, found = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &from, &to, &inode) == 3 &&
		    from <= (uintptr_t)addr && (uintptr_t)addr < to)
			found = inode;
	if (f)
		fclose(f);
	return found;
}

/* A process that has all units, says so, and lives until it is killed. inode: of unit 1. */
struct child {
	pid_t pid;
	int from;
};

struct report {
	int taken;
	bool right;
	unsigned long inode;
};

static struct child spawn(void)
{
	struct child c;
	int p[2];

	if (pipe(p))
		exit(1);
	c.pid = fork();
	c.from = p[0];
	if (!c.pid) {
		struct mine m;
		struct report r = { 0 };

		close(p[0]);
		if (!start(&m))
			_exit(2);
		r.taken = have_all(&m);
		r.right = all_right(&m) && !m.wrong;
		r.inode = inode_at(address(&m, 1));
		if (write(p[1], &r, sizeof(r)) != sizeof(r))
			_exit(3);
		for (;;)
			pause();
	}
	close(p[1]);
	return c;
}

static struct report hear_of(struct child *c)
{
	struct report r = { .taken = -1 };

	if (read(c->from, &r, sizeof(r)) != sizeof(r))
		r.taken = -1;
	return r;
}

static void kill_child(struct child *c)
{
	kill(c->pid, SIGKILL);
	waitpid(c->pid, NULL, 0);
	close(c->from);
}

static void test_two(void)
{
	struct child a = spawn(), b, c;
	struct report ra = hear_of(&a), rb, rc;

	test_ok(!ra.taken && ra.right, "the first has to fill everything");
	b = spawn();
	rb = hear_of(&b);
	test_ok(rb.taken == UNITS && rb.right, "the second takes everything");
	test_ok(ra.inode && ra.inode == rb.inode, "it is the same memory");
	kill_child(&a);
	c = spawn();
	rc = hear_of(&c);
	test_ok(rc.taken == UNITS && rc.right && rc.inode == rb.inode,
		"the server is killed: a third takes everything from the second");
	a = spawn();
	kill_child(&b);
	kill_child(&c);
	ra = hear_of(&a);
	test_ok(ra.taken >= 0 && ra.right, "two are killed while another comes (it took %d)",
		ra.taken);
	kill_child(&a);
	a = spawn();
	ra = hear_of(&a);
	test_ok(!ra.taken && ra.right, "all were killed: nothing is left, and nothing in the way");
	kill_child(&a);
}

/* Both fill everything at once: one copy goes. */
static void test_race(void)
{
	struct mine m[2];
	struct linnet_share_stats st[2];
	bool ok = start(&m[0]) && start(&m[1]);

	for (int i = 0; i < 2 && ok; i++)
		for (size_t u = 0; u < UNITS; u++)
			have_own(&m[i], u);
	for (size_t u = 0; u < UNITS && ok; u++)
		for (int i = 0; i < 2; i++)
			linnet_share_give(m[(u + i) % 2].s, u);
	for (int tries = 0; tries < 200 && ok; tries++) {
		for (int i = 0; i < 2; i++) {
			linnet_share_settle(m[i].s);
			linnet_share_stats(m[i].s, &st[i]);
		}
		if (st[0].given + st[1].given == m[0].bytes &&
		    st[0].taken + st[1].taken == m[0].bytes)
			break;
		usleep(10000);
	}
	for (size_t u = 0; u < UNITS && ok; u++)
		ok = inode_at(address(&m[0], u)) &&
		     inode_at(address(&m[0], u)) == inode_at(address(&m[1], u));
	test_ok(ok && all_right(&m[0]) && all_right(&m[1]) && st[0].serving != st[1].serving &&
		!m[0].wrong && !m[1].wrong, "two that fill everything at once end with one copy");
	if (!ok)
		return;
	linnet_share_drop(m[0].s, 1);
	ok = !inode_at(address(&m[0], 1)) && is_right(&m[1], 1);
	ok &= !linnet_share_make(m[0].s, 1, &err);
	memset(address(&m[0], 1), 1, m[0].unit[1].bytes);
	test_ok(ok && all_right(&m[1]), "what one drops the other keeps, and it may be written to");
	fill(&m[0], 1);
	linnet_share_give(m[0].s, 1);
	test_ok(all_right(&m[0]) && all_right(&m[1]), "and have again");
	end(&m[0]);
	test_ok(all_right(&m[1]), "one ends");
	ok = start(&m[0]);
	test_ok(ok && have_all(&m[0]) == UNITS && all_right(&m[0]), "and comes again");
	end(&m[1]);
	end(&m[0]);
}

/* Processes come and are killed at any moment. */
static void test_deaths(int rounds)
{
	uint32_t rng = 4711;
	int wrong = 0, taken = 0, heard = 0;

	for (int r = 0; r < rounds; r++) {
		struct child c[4];

		for (int i = 0; i < 4; i++) {
			c[i] = spawn();
			rng = rng * 1664525 + 1013904223;
			usleep((rng >> 20) % 4000);
		}
		for (int i = 0; i < 4; i++) {
			struct report rep;

			rng = rng * 1664525 + 1013904223;
			if (rng >> 31) {
				rep = hear_of(&c[i]);
				heard++;
				taken += rep.taken;
				wrong += rep.taken < 0 || !rep.right;
			}
			usleep((rng >> 18) % 5000);
			kill_child(&c[i]);
		}
	}
	test_ok(!wrong && heard > rounds,
		"%d processes killed at any moment, %d asked before: no byte is wrong "
		"(%d units came from others)",
		4 * rounds, heard, taken);
}

/* Whoever has no memory, or none that can be shared, does without, and may try again. */
static void test_failures(void)
{
	struct mine m[2];
	bool ok = start(&m[0]) && start(&m[1]);
	int taken = 0;

	if (!test_ok(ok, "two begin"))
		return;
	m[0].fails = true;
	test_ok(linnet_share_make(m[0].s, 0, &err) == -ENOMEM, "no memory: it is said");
	m[0].fails = false;
	have_own(&m[0], 0);
	m[0].fails = true;
	linnet_share_give(m[0].s, 0);
	usleep(20000);
	test_ok(is_right(&m[0], 0) && !linnet_share_take(m[1].s, 0),
		"what cannot be given stays as it is");
	m[0].fails = false;
	linnet_share_give(m[0].s, 0);
	m[1].fails = true;
	for (int tries = 0; tries < 50; tries++) {
		taken += linnet_share_take(m[1].s, 0);
		usleep(1000);
	}
	m[1].fails = false;
	have_own(&m[1], 0);
	test_ok(!taken && is_right(&m[1], 0), "what cannot be taken is not there");
	end(&m[0]);
	end(&m[1]);
}

/* A peer that speaks for itself. */
struct message {
	struct linnet_hash128 name;
	uint64_t unit, bytes;
};

static int visit(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	snprintf(to.sun_path, sizeof(to.sun_path), "%s/linnet-%016llx%016llx", dir,
		 (unsigned long long)name.v[1], (unsigned long long)name.v[0]);
	if (connect(s, (struct sockaddr *)&to, sizeof(to)))
		exit(1);
	return s;
}

static void tell(int s, struct message *msg, size_t bytes, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { msg, bytes };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	if (sendmsg(s, &h, 0) < 0)
		exit(1);
}

static int make_file(size_t unit_pages, int seals)
{
	int fd = memfd_create("x", MFD_ALLOW_SEALING);

	if (ftruncate(fd, (off_t)(unit_pages * PAGE)) || fcntl(fd, F_ADD_SEALS, seals))
		exit(1);
	return fd;
}

static int good_seals(void)
{
	return ops == &buffers ? BUFFER_SEALS :
				 F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
}

/* A peer that sends what is not sealed, of another kind, too short, or no unit of ours. */
static void test_hostile(void)
{
	struct mine m;
	int wrong = 0;

	if (!test_ok(start(&m), "a server"))
		return;
	for (int how = 0; how < 6; how++) {
		struct message msg = { name, how == 2 ? UNITS : how == 3 ? UINT64_MAX : 1,
				       pages[1] * PAGE };
		int fd = make_file(how == 1 ? 1 : pages[1], how ? good_seals() :
				   F_SEAL_WRITE | F_SEAL_SHRINK);
		int s = visit();

		if (how == 5)
			msg.name.v[0] = 1;
		tell(s, &msg, how == 4 ? 5 : sizeof(msg), fd);
		usleep(20000);
		wrong += linnet_share_take(m.s, 1);
		close(s);
		close(fd);
	}
	have_all(&m);
	test_ok(!wrong && all_right(&m) && !m.wrong,
		"descriptors that are not sealed or not right are not taken");
	end(&m);
}

/* A peer that sends the same for two units. */
static void test_twice(void)
{
	struct message msg = { name, 0, pages[0] * PAGE };
	int fd = make_file(pages[0], good_seals()), s;
	bool first = false, second;
	struct mine m;

	if (!test_ok(start(&m), "a server"))
		return;
	s = visit();
	tell(s, &msg, sizeof(msg), fd);
	msg.unit = TWIN;
	tell(s, &msg, sizeof(msg), fd);
	for (int tries = 0; tries < 500 && !first; tries++) {
		usleep(10000);
		first = linnet_share_take(m.s, 0);
	}
	second = linnet_share_take(m.s, TWIN);
	test_ok(first && !second, "one descriptor is one unit");
	have_own(&m, TWIN);
	linnet_share_give(m.s, TWIN);
	test_ok(is_right(&m, TWIN) && !m.wrong, "the other is read");
	close(s);
	close(fd);
	end(&m);
}

/* All of it with memory of a kind. */
static void test_kind(const struct linnet_share_ops *kind)
{
	ops = kind;
	printf("# %s\n", ops == &buffers ? "buffers" : "memory files");
	test_two();
	test_race();
	test_deaths(getenv("LINNET_TEST_QUICK") || getenv("LINNET_SANITIZER") ? 8 : 40);
	test_hostile();
	test_twice();
}

int main(void)
{
	struct linnet_share *s;
	char command[128];

	if (!mkdtemp(dir))
		return 1;
	test_kind(&linnet_share_memfd);
	test_kind(&buffers);
	test_failures();
	if (chmod(dir, 0777))
		return 1;
	test_ok(linnet_share_open(&s, dir, name, ops, NULL, NULL, 0, &err) == -EPERM,
		"a folder that others may write to is refused: %s", err.message);
	test_ok(linnet_share_open(&s, "/none", name, ops, NULL, NULL, 0, &err) == -ENOTDIR,
		"no folder: %s", err.message);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	if (system(command))
		return 1;
	return test_end();
}
