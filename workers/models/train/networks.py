"""The two demo networks: an anchor-free detector and an encoder-decoder for inverse depth, both small convolutional nets."""
import torch
from torch import Tensor, nn
from torch.nn import functional as F

DETECT_SIZE = (384, 640)  # height, width: a 640x360 picture with bars above and below
DEPTH_SIZE = (256, 448)
STRIDES = (4, 8, 16)  # of the places that find boxes
STRIDE = 32  # the sides of a picture must be multiples of this

# COCO's ids of the classes that the street shows, in the order of the network's own outputs.
COCO_IDS = (0, 1, 2, 5)
# COCO's first 6 names: row i of the exported head is class i.
COCO_NAMES = ("person", "bicycle", "car", "motorcycle", "airplane", "bus")


class Conv(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        super().__init__(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Stage(nn.Module):
    """Cross-stage block: half of the channels go through residual 3x3 pairs, and all that was seen is mixed at the end."""

    def __init__(self, inputs: int, outputs: int, depth: int):
        super().__init__()
        half = outputs // 2
        self.split = Conv(inputs, outputs, 1)
        self.pairs = nn.ModuleList(nn.Sequential(Conv(half, half), Conv(half, half)) for _ in range(depth))
        self.mix = Conv(half * (2 + depth), outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.split(x).chunk(2, 1))
        for pair in self.pairs:
            parts.append(parts[-1] + pair(parts[-1]))
        return self.mix(torch.cat(parts, 1))


class Pool(nn.Module):
    """Three max-pools in a row, concatenated: a wide view at the lowest resolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.reduce, self.mix = Conv(channels, channels // 2, 1), Conv(channels * 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.reduce(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.mix(torch.cat(parts, 1))


class Backbone(nn.Module):
    """Features at strides 4, 8, 16 and 32 with the given channels; stem is the channels at stride 2."""

    def __init__(self, stem: int, channels: tuple[int, int, int, int], depths: tuple[int, int, int, int]):
        super().__init__()
        self.stem = Conv(3, stem, 3, 2)
        widths = (stem, *channels)
        self.down = nn.ModuleList(Conv(widths[i], widths[i + 1], 3, 2) for i in range(4))
        self.stages = nn.ModuleList(Stage(channels[i], channels[i], depths[i]) for i in range(4))
        self.pool = Pool(channels[3])

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        features = [x]
        for down, stage in zip(self.down, self.stages):
            x = stage(down(x))
            features.append(x)
        features[-1] = self.pool(x)
        return features


class Detector(nn.Module):
    """Anchor-free detector over three strides. Each place of a feature map answers with the distances, in strides, from
    its centre to the four sides of a box, and a logit per class. Stride 4 is for what is 12 pixels high."""

    def __init__(self, classes: int = len(COCO_IDS)):
        super().__init__()
        c = (32, 64, 80, 112)
        self.backbone = Backbone(16, c, (1, 1, 2, 1))
        self.lateral = nn.ModuleList((Conv(c[3], 64, 1), Conv(c[2], 64, 1), Conv(c[1], 32, 1), Conv(c[0], 32, 1)))
        widths = (32, 32, 64)
        self.merge = nn.ModuleList((Stage(128, widths[2], 1), Stage(96, widths[1], 1), Stage(64, widths[0], 1)))
        self.towers = nn.ModuleList((Conv(widths[0], widths[0], 1), Conv(widths[1], widths[1]), Conv(widths[2], widths[2])))
        self.boxes = nn.ModuleList(nn.Conv2d(w, 4, 1) for w in widths)
        self.scores = nn.ModuleList(nn.Conv2d(w, classes, 1) for w in widths)
        for box, score in zip(self.boxes, self.scores):
            nn.init.constant_(box.bias, 1.0)
            nn.init.constant_(score.bias, -5.0)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images [B,3,H,W], 0 to 1 -> sides [B,N,4] in pixels (left, top, right, bottom of the place's centre), logits [B,N,C]."""
        _, f4, f8, f16, f32 = self.backbone(images)
        x, pyramid = self.lateral[0](f32), []
        for merge, lateral, feature in zip(self.merge, list(self.lateral)[1:], (f16, f8, f4)):
            x = merge(torch.cat((F.interpolate(x, scale_factor=2), lateral(feature)), 1))
            pyramid.insert(0, x)
        sides, logits = [], []
        for i, feature in enumerate(pyramid):
            x = self.towers[i](feature)
            sides.append((self.boxes[i](x).clamp(max=5.0).exp() * STRIDES[i]).flatten(2))
            logits.append(self.scores[i](x).flatten(2))
        return torch.cat(sides, 2).transpose(1, 2), torch.cat(logits, 2).transpose(1, 2)


def places(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Centres [N,2] (x, y) in pixels of all places of all strides, and their strides [N], in the order of the outputs."""
    centres, strides = [], []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
        centres.append(torch.stack((x, y), -1).reshape(-1, 2) * stride)
        strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(centres), torch.cat(strides)


class Head(nn.Module):
    """The detector as Ultralytics exports a YOLOv8: [B,3,H,W] -> [B,4+6,N], rows cx, cy, w, h in pixels, then the
    probability of each of COCO's first 6 classes; those that the street does not show are 0. A place that a neighbour
    of its stride outdoes counts half, so that what finds a thing less well ranks behind what finds another."""

    def __init__(self, detector: Detector):
        super().__init__()
        self.detector = detector
        self.register_buffer("centres", places(*DETECT_SIZE)[0])
        rows = torch.zeros(len(COCO_NAMES), len(COCO_IDS))
        rows[torch.tensor(COCO_IDS), torch.arange(len(COCO_IDS))] = 1
        self.register_buffer("rows", rows)

    def forward(self, images: Tensor) -> Tensor:
        sides, logits = self.detector(images)
        low, high = self.centres - sides[..., :2], self.centres + sides[..., 2:]
        boxes = torch.cat(((low + high) / 2, high - low), 2).transpose(1, 2)
        maps, at = [], 0
        for stride in STRIDES:
            height, width = DETECT_SIZE[0] // stride, DETECT_SIZE[1] // stride
            scores = logits[:, at:at + height * width].sigmoid().transpose(1, 2).unflatten(2, (height, width))
            best = scores >= F.max_pool2d(scores, 3, 1, 1)
            maps.append(torch.where(best, scores, scores / 2).flatten(2))
            at += height * width
        return torch.cat((boxes, self.rows @ torch.cat(maps, 2)), 1)


class Depth(nn.Module):
    """Encoder-decoder for inverse depth. The decoder is told where in the picture it is: how far away the ground is
    follows from the row."""

    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self):
        super().__init__()
        c = (32, 64, 128, 128)
        self.backbone = Backbone(16, c, (1, 3, 3, 1))
        self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c[3], 96, 1), nn.ReLU(inplace=True))
        self.lateral = nn.ModuleList((Conv(c[3], 96, 1), Conv(c[2], 96, 1), Conv(c[1], 64, 1), Conv(c[0], 32, 1)))
        self.where = nn.ModuleList(nn.Conv2d(2, w, 1) for w in (96, 96, 64, 32))
        self.merge = nn.ModuleList((Stage(192, 64, 2), Stage(128, 32, 2), Stage(64, 32, 1)))
        self.last = nn.Sequential(Conv(48, 16), nn.Conv2d(16, 4, 3, 1, 1))  # four pixels for each place at stride 2
        nn.init.constant_(self.last[1].bias, -2.5)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels [B,3,H,W], normalised by ImageNet's mean and deviation -> [B,H,W], larger is nearer, more than 0: for the
        street it is close to inverse metres."""
        f2, f4, f8, f16, f32 = self.backbone(pixels)
        x = self.lateral[0](f32) + self.where[0](position(f32)) + self.whole(f32)
        for i, feature in ((1, f16), (2, f8), (3, f4)):
            skip = self.lateral[i](feature) + self.where[i](position(feature))
            x = self.merge[i - 1](torch.cat((F.interpolate(x, scale_factor=2), skip), 1))
        x = self.last(torch.cat((F.interpolate(x, scale_factor=2), f2), 1))
        return F.pixel_shuffle(x, 2).squeeze(1).clamp(-8.0, 3.0).exp()


def position(like: Tensor) -> Tensor:
    """Row and column of each place, -1 to 1: [B,2,h,w] for features [B,C,h,w]."""
    batch, _, height, width = like.shape
    rows = torch.linspace(-1, 1, height, dtype=like.dtype).view(1, 1, height, 1).expand(batch, 1, height, width)
    columns = torch.linspace(-1, 1, width, dtype=like.dtype).view(1, 1, 1, width).expand(batch, 1, height, width)
    return torch.cat((rows, columns), 1)


class Relative(nn.Module):
    """The depth network as Depth Anything is published: sides that are multiples of 14, here 252x448, the shape of a
    640x360 picture; two rows above and below are repeated for the network and taken off again."""

    SIZE = (252, 448)

    def __init__(self, depth: Depth):
        super().__init__()
        self.depth = depth

    def forward(self, pixels: Tensor) -> Tensor:
        return self.depth(F.pad(pixels, (0, 0, 2, 2), mode="replicate"))[:, 2:-2]
