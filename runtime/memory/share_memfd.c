// SPDX-License-Identifier: MIT
/*
 * Anonymous memory that becomes sealed memory files, keeps the table of share.h. Files are
 * mapped over what was there, at once as far as threads that read it can see.
 */
#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK ((size_t)2 << 20)
#define HUGE_PAGE ((uintptr_t)2 << 20)
#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static char *address(const struct linnet_share_unit *u)
{
	return u->region->addr + u->at;
}

static void *map_own(char *addr, size_t bytes)
{
	return mmap(addr, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* Sealed, and as large as it has to be? */
static bool is_sound(struct linnet_engine *e, const struct linnet_share_unit *u, int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS) == SEALS && !fstat(fd, &st) &&
	       (uint64_t)st.st_size == u->bytes;
}

static bool take(struct linnet_engine *e, const struct linnet_share_unit *u, int fd)
{
	return mmap(address(u), u->bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
}

/*
 * Huge pages where they lie in the unit as a whole. One that two units have a part of would be
 * ours until both are given away, beside the copy of the first.
 */
static int make(struct linnet_engine *e, const struct linnet_share_unit *u,
		struct linnet_error *err)
{
	const uintptr_t from = (uintptr_t)address(u), to = from + u->bytes;
	const uintptr_t first = (from + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	const uintptr_t last = to & ~(HUGE_PAGE - 1);

	if (!u->region->huge || !u->bytes)
		return 0;
	if (first >= last) {
		madvise(address(u), u->bytes, MADV_NOHUGEPAGE);
		return 0;
	}
	if (first > from)
		madvise(address(u), first - from, MADV_NOHUGEPAGE);
	madvise((void *)first, last - first, MADV_HUGEPAGE);
	if (to > last)
		madvise((void *)last, to - last, MADV_NOHUGEPAGE);
	return 0;
}

/*
 * Move the bytes to a memory file, piece by piece: there is not always room for two
 * copies. -1: they are where they were.
 */
static int give(struct linnet_engine *e, const struct linnet_share_unit *u)
{
	int fd = memfd_create("linnet-weights", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t at = 0;
	void *anon;

	if (fd < 0)
		return -1;
	while (at < u->bytes) {
		size_t n = u->bytes - at < CHUNK ? u->bytes - at : CHUNK;
		ssize_t done = pwrite(fd, address(u) + at, n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		/* whole pages: the rest of a torn one must not be lost */
		done = done < 0 ? -1 : done / 4096 * 4096;
		if (done <= 0)
			break;
		madvise(address(u) + at, (size_t)done, MADV_DONTNEED);
		at += (size_t)done;
	}
	if (at == u->bytes && !fcntl(fd, F_ADD_SEALS, SEALS) && take(e, u, fd))
		return fd;
	/* back again; what was just given up for it is there to be had */
	anon = map_own(address(u), at);
	for (size_t back = 0; anon != MAP_FAILED && back < at;) {
		ssize_t n = pread(fd, address(u) + back, at - back, (off_t)back);

		if (n > 0)
			back += (size_t)n;
		else if (n == 0 || errno != EINTR)
			break;
	}
	close(fd);
	return -1;
}

static void drop(struct linnet_engine *e, const struct linnet_share_unit *u)
{
	map_own(address(u), u->bytes);
}

const struct linnet_share_ops linnet_share_memfd = {
	.at_once = true,
	.is_sound = is_sound,
	.take = take,
	.make = make,
	.give = give,
	.drop = drop,
};
