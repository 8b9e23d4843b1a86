"""Small networks of many kinds, each after the shape of one that people bring."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import weight_norm


class Tagger(nn.Module):
    """An LSTM over words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 24)
        self.lstm = nn.LSTM(24, 16, batch_first=True, bidirectional=True)
        self.hidden = nn.Linear(32, 20)
        self.tags = nn.Linear(20, 7)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.tags(F.relu(self.hidden(self.lstm(self.words(words))[0])))


class UNet(nn.Module):
    """Down, up, and concatenations across; transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = self._double(3, 8), self._double(8, 16), self._double(16, 32)
        self.up2, self.merge2 = nn.ConvTranspose2d(32, 16, 2, 2), self._double(32, 16)
        self.up1, self.merge1 = nn.ConvTranspose2d(16, 8, 2, 2), self._double(16, 8)
        self.out = nn.Conv2d(8, 2, 1)

    @staticmethod
    def _double(inputs: int, outputs: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for width in (inputs, outputs):
            layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.down1(x)
        coarse = self.down2(F.max_pool2d(fine, 2))
        bottom = self.bottom(F.max_pool2d(coarse, 2))
        x = self.merge2(torch.cat([self.up2(bottom), coarse], 1))
        return self.out(self.merge1(torch.cat([self.up1(x), fine], 1)))


class CrossStage(nn.Module):
    """A cross-stage partial block: one half of the channels goes through a branch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.split = nn.Conv2d(width, width, 1)
        self.branch = nn.Conv2d(width // 2, width // 2, 3, padding=1)
        self.merge = nn.Conv2d(width // 2 * 3, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.split(x).chunk(2, 1)
        return F.silu(self.merge(torch.cat([first, second, self.branch(second)], 1)))


class Detector(nn.Module):
    """Two resolutions, upsampling and several outputs in a dict, as YOLO has them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fine = nn.Conv2d(3, 16, 3, 2, 1), CrossStage(16)
        self.down, self.coarse = nn.Conv2d(16, 32, 3, 2, 1), CrossStage(32)
        self.lateral, self.fused = nn.Conv2d(32, 16, 1), CrossStage(32)
        self.heads = nn.ModuleList([nn.Conv2d(32, 18, 1), nn.Conv2d(32, 18, 1)])

    def forward(self, x: torch.Tensor) -> dict[str, object]:
        fine = self.fine(F.silu(self.stem(x)))
        coarse = self.coarse(F.silu(self.down(fine)))
        fused = self.fused(torch.cat([F.interpolate(self.lateral(coarse), scale_factor=2), fine], 1))
        boxes = [self._boxes(head(y)) for head, y in zip(self.heads, (fused, coarse), strict=True)]
        return {"fine": boxes[0], "coarse": (boxes[1],)}

    @staticmethod
    def _boxes(x: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = x.shape
        return x.view(batch, 3, 6, height, width).permute(0, 1, 3, 4, 2).sigmoid()


class Sequence1d(nn.Module):
    """Convolutions over time with group norm, groups and a learned slope."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(4, 16, 5, padding=2), nn.GroupNorm(4, 16)
        self.grouped = nn.Conv1d(16, 16, 3, padding=1, groups=4)
        self.last, self.slope = nn.Conv1d(16, 12, 1), nn.PReLU(12)
        self.head = nn.Linear(12 * 8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.grouped(self.norm(self.first(x))))
        return self.head(F.adaptive_max_pool1d(self.slope(self.last(x)), 8).flatten(1))


class Recurrent(nn.Module):
    """One layer used three times."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.step, self.norm, self.leave = (
            nn.Linear(6, 16),
            nn.Linear(16, 16),
            nn.BatchNorm1d(16),
            nn.Linear(16, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        for _ in range(3):
            x = x + torch.tanh(self.norm(self.step(x)))
        return self.leave(x)


class WeightNormed(nn.Module):
    """Weights that are computed from a direction and a length."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = weight_norm(nn.Conv2d(3, 12, 3, padding=1)), weight_norm(nn.Linear(12, 16))
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.second(F.relu(self.first(x)).mean((2, 3)))))


class LooseParameters(nn.Module):
    """Parameters outside layers: a scale, a bias, a class token, positions and a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.rand(1, 16, 1, 1) + 0.5), nn.Parameter(torch.rand(16))
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 65, 16))
        self.out = nn.Parameter(torch.randn(16, 10))
        self.conv, self.mix = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (self.conv(x) * self.scale).flatten(2).transpose(1, 2) + self.bias
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return F.gelu(self.mix(x)).mean(1) @ self.out


class GroupedQueryLayer(nn.Module):
    """Rotary grouped-query attention and a gated linear unit, as Llama has them."""

    def __init__(self, width: int = 32, heads: int = 8, kv_heads: int = 2, head_dim: int = 8) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q = nn.Linear(width, heads * head_dim, bias=False)
        self.k, self.v = (nn.Linear(width, kv_heads * head_dim, bias=False) for _ in range(2))
        self.o = nn.Linear(heads * head_dim, width, bias=False)
        self.gate, self.up = (nn.Linear(width, 64, bias=False) for _ in range(2))
        self.down = nn.Linear(64, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        y = self.norm1(x)
        q = self._rotated(self.q(y).view(batch, length, self.num_heads, self.head_dim).transpose(1, 2))
        k = self._rotated(self.k(y).view(batch, length, self.num_kv_heads, self.head_dim).transpose(1, 2))
        v = self.v(y).view(batch, length, self.num_kv_heads, self.head_dim).transpose(1, 2)
        share = self.num_heads // self.num_kv_heads
        k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(batch, length, -1))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))

    def _rotated(self, x: torch.Tensor) -> torch.Tensor:
        half = self.head_dim // 2
        angles = torch.arange(x.shape[2])[:, None] / 10 ** (torch.arange(half) / half)
        cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


class Decoder(nn.Module):
    """A language model whose output layer shares its weight with the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(40, 32), nn.RMSNorm(32)
        self.layers = nn.ModuleList([GroupedQueryLayer(), GroupedQueryLayer()])
        self.head = nn.Linear(32, 40, bias=False)
        self.head.weight = self.words.weight

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.words(words)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


class FusedAttention(nn.Module):
    """One layer for queries, keys and values, with sizes kept as attributes, as timm has it."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = 4, 6, 24
        self.enter, self.qkv, self.proj, self.leave = (
            nn.Linear(5, 16),
            nn.Linear(16, 72),
            nn.Linear(24, 16),
            nn.Linear(16, 3),
        )
        self.bias = nn.Parameter(torch.randn(4, 7, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-2, -1) * self.head_dim**-0.5 + self.bias).softmax(-1)
        return self.leave(x + self.proj((weights @ v).transpose(1, 2).reshape(batch, length, self.attn_dim)))


class NamedInputs(nn.Module):
    """Two inputs by name and outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.image, self.text, self.out = nn.Linear(4, 16), nn.Linear(6, 16), nn.Linear(32, 3)

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.out(torch.cat([F.relu(self.image(image)), F.relu(self.text(text))], -1))}


class TwoInputs(NamedInputs):
    """The same by position."""


class Shuffled(nn.Module):
    """Grouped and depthwise convolutions with a channel shuffle between, as ShuffleNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.grouped = nn.Conv2d(3, 24, 1), nn.Conv2d(24, 24, 1, groups=3)
        self.depthwise, self.leave, self.head = (
            nn.Conv2d(24, 24, 3, padding=1, groups=24),
            nn.Conv2d(24, 8, 1),
            nn.Linear(8, 4),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.grouped(F.relu(self.enter(x))))
        batch, channels, height, width = x.shape
        x = x.view(batch, 3, channels // 3, height, width).transpose(1, 2).reshape(batch, channels, height, width)
        return self.head(F.relu(self.leave(self.depthwise(x))).mean((2, 3)))


class SuperResolution(nn.Module):
    """Channels that become pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.spread, self.last = (
            nn.Conv2d(3, 16, 3, padding=1),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.Conv2d(8, 3, 3, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(F.pixel_shuffle(self.spread(F.relu(self.first(x))), 2))


class Gated(nn.Module):
    """A squeeze-and-excitation gate, a spatial gate and a gated linear unit."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.excite = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1)
        self.where, self.unit, self.head = nn.Conv2d(12, 1, 1), nn.Linear(12, 20), nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = x * self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))).sigmoid()
        x = x * self.where(x).sigmoid()
        return self.head(F.glu(self.unit(x.mean((2, 3)))))


class TextClassifier(nn.Module):
    """PyTorch's own transformer encoder over words, some of which are padding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(50, 24), nn.Parameter(torch.randn(9, 24))
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(24, 4, 40, batch_first=True), 2)
        self.head = nn.Linear(24, 5)

    def forward(self, words: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        x = self.encoder(self.words(words) + self.positions, src_key_padding_mask=padding)
        return self.head((x * ~padding[..., None]).mean(1))


class Translator(nn.Module):
    """PyTorch's own encoder and decoder, time first, normalised first, the decoder causal."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target, self.out = nn.Linear(6, 16), nn.Linear(7, 16), nn.Linear(16, 5)
        self.transformer = nn.Transformer(16, 4, 1, 1, 20, norm_first=True)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        source, target = self.source(source).transpose(0, 1), self.target(target).transpose(0, 1)
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[0])
        return self.out(self.transformer(source, target, tgt_mask=mask, tgt_is_causal=True)).transpose(0, 1)


class CrossAttention(nn.Module):
    """Attention over keys and values of other widths, with the extras of PyTorch's, its weights unused."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(6, 24), nn.Linear(7, 10), nn.Linear(7, 12)
        self.attention = nn.MultiheadAttention(
            24, 4, kdim=10, vdim=12, add_bias_kv=True, add_zero_attn=True, batch_first=True
        )
        self.out = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor, beside: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        key, value = self.key(beside), self.value(beside)
        return self.out(self.attention(self.query(x), key, value, attn_mask=hidden[0])[0])


class DeepTagger(nn.Module):
    """Two layers of a bidirectional LSTM; the last states are read, too."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.lstm = nn.Linear(6, 10), nn.LSTM(10, 8, 2, bidirectional=True, batch_first=True)
        self.tags, self.whole = nn.Linear(16, 5), nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tagged, (last, _) = self.lstm(self.enter(x))
        return self.tags(tagged) + self.whole(last.transpose(0, 1).flatten(1))[:, None]


class StatedGRU(nn.Module):
    """A GRU whose first state is learned, then a plain one whose first state is made from a number kept."""

    def __init__(self) -> None:
        super().__init__()
        self.units = 6
        self.gated, self.start = nn.GRU(5, 8, batch_first=True), nn.Parameter(torch.randn(1, 1, 8))
        self.plain, self.out = nn.RNN(8, 6, batch_first=True, nonlinearity="relu"), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gated, _ = self.gated(x, self.start.expand(-1, x.shape[0], -1).contiguous())
        return self.out(self.plain(gated, x.new_ones(1, x.shape[0], self.units))[0])


class CellByCell(nn.Module):
    """A cell of an LSTM, called step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(5, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.out(state[0])
