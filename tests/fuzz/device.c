// SPDX-License-Identifier: MIT
/*
 * Fuzz target: tools/device, from messages of a front end to jobs, in one thread. Input:
 * a byte (bit 0: nothing is set up before), then records of kind u8, argument u8, length
 * u16 and bytes: 0 a message, 1 a write to the guest's memory at the offset that its
 * first four bytes are, 2 what is in the control queue is done, 3 so many submissions
 * are, 4 a request and 5 a submission in a chain of descriptors as it should be.
 */
#include "fuzz.h"

#include "tools/device/device.h"

#include <signal.h>
#include <string.h>
#include <sys/time.h>

#define MEMORY	(1u << 20)
#define USER	0x10000000ull
#define RING	16
#define DESC	0u
#define AVAIL	4096u
#define USED	8192u
#define QUEUE	12288u			/* from one queue's rings to the other's */
#define BUFFER	(512u << 10)

static struct device *volatile current;
static char *memory;
static int memfd = -1;

/* What takes long is interrupted: a job's length is no failure. */
static void interrupt(int sig)
{
	if (current)
		atomic_store(&current->interrupt, 1);
}

static void set_up_once(void)
{
	const struct itimerval often = { { 0, 20000 }, { 0, 20000 } };

	if (memfd >= 0)
		return;
	memfd = memfd_create("guest", MFD_CLOEXEC);
	must(memfd >= 0 && !ftruncate(memfd, MEMORY));
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	must(memory != MAP_FAILED);
	signal(SIGVTALRM, interrupt);
	setitimer(ITIMER_VIRTUAL, &often, NULL);
}

static void message(struct device *d, uint32_t request, const void *payload, uint32_t n,
		    unsigned n_fds)
{
	struct vhost_user_message m = { .request = request, .flags = 1 | 8, .size = n };
	int fds[GUEST_MAX_REGIONS];

	must(n <= sizeof(m.raw) && n_fds <= GUEST_MAX_REGIONS);
	memcpy(m.raw, payload, n);
	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = dup(memfd);
	if (device_message(d, &m, fds, n_fds) == 1)
		must(m.size <= sizeof(m.raw) && m.flags == (1 | 4));
}

static void start(struct device *d)
{
	const struct { uint32_t n, pad; uint64_t gpa, bytes, user, offset; } table = {
		1, 0, 0, MEMORY, USER, 0 };
	const uint64_t features = 1ull << 32 | 1ull << 30 | 1ull << 28, protocol = 0x228 | 1 << 13;

	message(d, 16, &protocol, 8, 0);
	message(d, 2, &features, 8, 0);
	message(d, 5, &table, sizeof(table), 1);
	for (uint32_t i = 0; i < 2; i++) {
		const struct { uint32_t index, flags; uint64_t desc, used, avail, log; } a = {
			i, 0, USER + i * QUEUE + DESC, USER + i * QUEUE + USED,
			USER + i * QUEUE + AVAIL, 0 };
		const uint32_t num[] = { i, RING }, base[] = { i, 0 }, on[] = { i, 1 };
		const uint64_t kick = i;

		message(d, 8, num, 8, 0);
		message(d, 10, base, 8, 0);
		message(d, 9, &a, sizeof(a), 0);
		message(d, 12, &kick, 8, 1);
		message(d, 18, on, 8, 0);
	}
}

/* Put bytes where a driver would, and make them available. */
static void post(uint32_t queue, const uint8_t *p, uint32_t n)
{
	struct vring_desc *desc = (void *)(memory + queue * QUEUE + DESC);
	struct vring_avail *avail = (void *)(memory + queue * QUEUE + AVAIL);

	memcpy(memory + BUFFER, p, n);
	desc[0] = (struct vring_desc){ BUFFER, n, VRING_DESC_F_NEXT, 1 };
	desc[1] = (struct vring_desc){ BUFFER - 64, 16, VRING_DESC_F_WRITE, 0 };
	avail->ring[avail->idx % RING] = 0;
	avail->idx++;
}

static void record(struct device *d, unsigned kind, unsigned arg, const uint8_t *p, uint32_t n)
{
	uint32_t at;

	switch (kind % 6) {
	case 0:
		message(d, arg % 48, p, n < VHOST_USER_MAX_PAYLOAD ? n : VHOST_USER_MAX_PAYLOAD,
			arg / 48);
		break;
	case 1:
		if (n < 4)
			break;
		memcpy(&at, p, 4);
		at %= MEMORY;
		n = n - 4 < MEMORY - at ? n - 4 : MEMORY - at;
		memcpy(memory + at, p + 4, n);
		break;
	case 2:
		device_control(d);
		break;
	case 3:
		for (arg %= 4; arg && device_job_run(d); arg--)
			;
		break;
	case 4:
		post(VIRTIO_LINNET_CONTROLQ, p, n);
		device_control(d);
		break;
	case 5:
		post(VIRTIO_LINNET_JOBQ, p, n);
		device_job_run(d);
		break;
	}
	must(d->used_bytes <= d->opts.memory && d->n_waiting <= VQ_MAX_SIZE && !d->running);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const struct device_options opts = { .n_threads = 1, .memory = 2 << 20, .level = "ref" };
	struct device *d;
	const char *why;
	size_t at = 1;

	if (!n)
		return 0;
	set_up_once();
	memset(memory, 0, BUFFER);
	must(!device_create(&d, &opts, &why));
	current = d;
	if (!(data[0] & 1))
		start(d);
	while (n - at >= 4 && at < n) {
		uint32_t len = data[at + 2] | data[at + 3] << 8;

		len = len < n - at - 4 ? len : (uint32_t)(n - at - 4);
		record(d, data[at], data[at + 1], data + at + 4, len);
		at += 4 + len;
	}
	device_objects_clear(d);
	must(!d->used_bytes && !d->n_maps);
	current = NULL;
	device_destroy(d);
	return 0;
}
