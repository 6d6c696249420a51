"""Names that templates know by code: of languages (ISO 639) and countries (ISO 3166, Olympic)."""

from typing import Final


def _parse(table: str) -> dict[str, str]:
    """Read entries of the form "code name;"."""
    entries = (entry.split(maxsplit=1) for entry in table.split(";"))
    return {code: " ".join(name.split()) for code, name in entries}


LANGUAGES: Final = _parse("""
af Afrikaans; am Amharic; ang Old English; ar Arabic; arc Aramaic; as Assamese; az Azerbaijani; be
Belarusian; ber Berber; bg Bulgarian; bn Bengali; bo Tibetan; br Breton; bs Bosnian; ca Catalan; co
Corsican; cop Coptic; cs Czech; cu Church Slavonic; cy Welsh; da Danish; de German; el Greek; en
English; eo Esperanto; es Spanish; et Estonian; eu Basque; fa Persian; fi Finnish; fo Faroese; fr
French; fro Old French; fy West Frisian; ga Irish; gd Scottish Gaelic; gl Galician; got Gothic; grc
Ancient Greek; gsw Swiss German; gu Gujarati; ha Hausa; haw Hawaiian; he Hebrew; hi Hindi; hr
Croatian; ht Haitian Creole; hu Hungarian; hy Armenian; id Indonesian; ig Igbo; is Icelandic; it
Italian; ja Japanese; jv Javanese; ka Georgian; kk Kazakh; km Khmer; kn Kannada; ko Korean; ku
Kurdish; ky Kyrgyz; la Latin; lb Luxembourgish; lo Lao; lt Lithuanian; lv Latvian; mg Malagasy; mi
Maori; mk Macedonian; ml Malayalam; mn Mongolian; mr Marathi; ms Malay; mt Maltese; my Burmese; nah
Nahuatl; ne Nepali; nl Dutch; nn Norwegian; no Norwegian; non Old Norse; oc Occitan; or Odia; pa
Punjabi; pl Polish; ps Pashto; pt Portuguese; qu Quechua; rm Romansh; ro Romanian; ru Russian; sa
Sanskrit; sc Sardinian; scn Sicilian; sco Scots; sd Sindhi; sh Serbo-Croatian; si Sinhala; sk
Slovak; sl Slovene; so Somali; sq Albanian; sr Serbian; sv Swedish; sw Swahili; syr Syriac; ta
Tamil; te Telugu; tg Tajik; th Thai; tk Turkmen; tl Tagalog; tr Turkish; tt Tatar; uk Ukrainian; ur
Urdu; uz Uzbek; vi Vietnamese; xcl Classical Armenian; xh Xhosa; yi Yiddish; yo Yoruba; zh Chinese;
zu Zulu
""")
"""By the code in {{lang-xx}} and {{langx}}."""

COUNTRIES: Final = _parse("""
abw Aruba; afg Afghanistan; ago Angola; aia Anguilla; alb Albania; alg Algeria; and Andorra; ang
Angola; arg Argentina; arm Armenia; aru Aruba; asa American Samoa; asm American Samoa; atg Antigua
and Barbuda; aus Australia; aut Austria; aze Azerbaijan; bah Bahamas; ban Bangladesh; bar Barbados;
bdi Burundi; bel Belgium; ben Benin; ber Bermuda; bfa Burkina Faso; bgd Bangladesh; bgr Bulgaria;
bhr Bahrain; bhs Bahamas; bih Bosnia and Herzegovina; blr Belarus; blz Belize; bmu Bermuda; bol
Bolivia; bot Botswana; bra Brazil; brb Barbados; brn Brunei; btn Bhutan; bul Bulgaria; bur Burkina
Faso; bvt Bouvet Island; bwa Botswana; caf Central African Republic; cam Cambodia; can Canada; cay
Cayman Islands; cgo Republic of the Congo; cha Chad; che Switzerland; chi Chile; chl Chile; chn
China; civ C\u00f4te d'Ivoire; cmr Cameroon; cod Democratic Republic of the Congo; cog Republic of
the Congo; cok Cook Islands; col Colombia; com Comoros; cpv Cape Verde; crc Costa Rica; cri Costa
Rica; cro Croatia; cub Cuba; cur Cura\u00e7ao; cuw Cura\u00e7ao; cym Cayman Islands; cyp Cyprus;
cze Czech Republic; den Denmark; deu Germany; dji Djibouti; dma Dominica; dnk Denmark; dom
Dominican Republic; dza Algeria; ecu Ecuador; egy Egypt; eri Eritrea; esa El Salvador; esh Western
Sahara; esp Spain; est Estonia; eth Ethiopia; eu European Union; fij Fiji; fin Finland; fji Fiji;
flk Falkland Islands; fra France; frg West Germany; fro Faroe Islands; fsm Federated States of
Micronesia; gab Gabon; gam Gambia; gbr United Kingdom; gbs Guinea-Bissau; gdr East Germany; geo
Georgia; geq Equatorial Guinea; ger Germany; ggy Guernsey; gha Ghana; gib Gibraltar; gin Guinea;
glp Guadeloupe; gmb Gambia; gnb Guinea-Bissau; gnq Equatorial Guinea; grc Greece; grd Grenada; gre
Greece; grl Greenland; grn Grenada; gtm Guatemala; gua Guatemala; guf French Guiana; gui Guinea;
gum Guam; guy Guyana; hai Haiti; hkg Hong Kong; hnd Honduras; hon Honduras; hrv Croatia; hti Haiti;
hun Hungary; idn Indonesia; imn Isle of Man; ina Indonesia; ind India; iom Isle of Man; iri Iran;
irl Ireland; irn Iran; irq Iraq; isl Iceland; isr Israel; isv United States Virgin Islands; ita
Italy; ivb British Virgin Islands; jam Jamaica; jey Jersey; jor Jordan; jpn Japan; kaz Kazakhstan;
ken Kenya; kgz Kyrgyzstan; khm Cambodia; kir Kiribati; kna Saint Kitts and Nevis; kor South Korea;
kos Kosovo; ksa Saudi Arabia; kuw Kuwait; kwt Kuwait; lao Laos; lat Latvia; lba Libya; lbn Lebanon;
lbr Liberia; lby Libya; lca Saint Lucia; les Lesotho; lib Lebanon; lie Liechtenstein; lka Sri
Lanka; lso Lesotho; ltu Lithuania; lux Luxembourg; lva Latvia; mac Macau; mad Madagascar; maf Saint
Martin; mar Morocco; mas Malaysia; maw Malawi; mco Monaco; mda Moldova; mdg Madagascar; mdv
Maldives; mex Mexico; mgl Mongolia; mhl Marshall Islands; mkd Macedonia; mli Mali; mlt Malta; mmr
Myanmar; mne Montenegro; mng Mongolia; mon Monaco; moz Mozambique; mri Mauritius; mrt Mauritania;
msr Montserrat; mtn Mauritania; mtq Martinique; mus Mauritius; mwi Malawi; mya Myanmar; mys
Malaysia; nam Namibia; nca Nicaragua; ned Netherlands; nep Nepal; ner Niger; nga Nigeria; ngr
Nigeria; nic Nicaragua; nig Niger; niu Niue; nld Netherlands; nor Norway; npl Nepal; nru Nauru; nzl
New Zealand; oma Oman; omn Oman; pak Pakistan; pan Panama; par Paraguay; per Peru; phi Philippines;
phl Philippines; ple Palestine; plw Palau; png Papua New Guinea; pol Poland; por Portugal; pri
Puerto Rico; prk North Korea; prt Portugal; pry Paraguay; pse Palestine; pur Puerto Rico; qat
Qatar; rom Romania; rou Romania; rsa South Africa; rus Russia; rwa Rwanda; sam Samoa; sau Saudi
Arabia; sdn Sudan; sen Senegal; sey Seychelles; sgp Singapore; sgs South Georgia and the South
Sandwich Islands; shn Saint Helena, Ascension and Tristan da Cunha; sin Singapore; skn Saint Kitts
and Nevis; slb Solomon Islands; sle Sierra Leone; slo Slovenia; slv El Salvador; smr San Marino;
sol Solomon Islands; som Somalia; srb Serbia; sri Sri Lanka; ssd South Sudan; stp S\u00e3o
Tom\u00e9 and Pr\u00edncipe; sud Sudan; sui Switzerland; sur Suriname; svk Slovakia; svn
Slovenia; swe Sweden; swz Swaziland; sxm Sint Maarten; syc Seychelles; syr Syria; tan Tanzania; tca
Turks and Caicos Islands; tcd Chad; tch Czechoslovakia; tgo Togo; tha Thailand; tjk Tajikistan; tkm
Turkmenistan; tls East Timor; tog Togo; ton Tonga; tpe Chinese Taipei; tri Trinidad and Tobago; tto
Trinidad and Tobago; tun Tunisia; tur Turkey; tuv Tuvalu; twn Taiwan; tza Tanzania; uae United Arab
Emirates; uga Uganda; uk United Kingdom; ukr Ukraine; urs Soviet Union; uru Uruguay; ury Uruguay;
us United States; usa United States; uzb Uzbekistan; van Vanuatu; vat Vatican City; vct Saint
Vincent and the Grenadines; ven Venezuela; vgb British Virgin Islands; vie Vietnam; vin Saint
Vincent and the Grenadines; vir United States Virgin Islands; vnm Vietnam; vut Vanuatu; wsm Samoa;
yem Yemen; yug Yugoslavia; zaf South Africa; zam Zambia; zim Zimbabwe; zmb Zambia; zwe Zimbabwe
""")
"""By the name of the template that shows the flag and the country, as {{FRA}}."""
